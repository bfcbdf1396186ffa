"""What `penstock bench` measures: penstock beside the other loops that this interpreter has.

peers/ has a file for each loop, areas/ one for each thing that is measured, scheduling/ the
operations of that area. All loops do the same work, and answer the same client; each measurement
is a process of its own (alone.py) that ends by itself. Nothing leaves the loopback interface.

In those processes this package goes by another name than `penstock.bench`: to import it by that
would import penstock, which belongs only where it is what is measured. So all imports in here are
relative, and none leads out of here.
"""
