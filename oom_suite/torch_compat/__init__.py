"""Every name of torch that its documentation does not promise, behind one that is ours.

The lanes go deeper into torch than its public interface: they stand in dispatch, make fake
tensors, give sizes names and read the caching allocator's history. What they use there may change
with any release. So each such name is used in this package alone, and is looked for when a module
of it is imported, which is when a lane that needs it is. A name that is missing, or that no longer
takes what the suite gives it, is one `TorchChangedError` that says which, instead of a wrong
trace.

==================  =============================================================================
`autograd_nodes`    which step of a backward pass runs, and what it alone holds
`dispatch`          operators, dispatch modes, and which storage a tensor has
`fakes`             fake tensors and their mode
`fake_cuda`         a CUDA device that is not there
`lazy_parameters`   parameters of lazy modules
`library_layers`    layers that a GPU's library runs whole
`host_arrays`       NumPy's view of fake tensors
`symbols`           sizes as symbols
`compiler`          who enters a compiled function
`jiterator`         kernels that torch compiles from a string
`printing`          who prints a tensor
`cuda_memory`       the caching allocator's history
`sample_databases`  torch's own operators and modules, with inputs that they take
`mem_tracker`       torch's own tracker of memory
`per_thread`        what a mode keeps for each thread that entered it
`probes`            how a name is looked for
==================  =============================================================================

Versions that the tests of this package and of the lanes were run with: 2.11.0 and 2.13.0, and by
hand 2.15.0, the newest at the time (`probes.KNOWN_VERSIONS`). No module is imported here: a lane
imports what it needs.
"""
