"""The programs in examples/, each held to what it must do."""
