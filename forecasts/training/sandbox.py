"""Training where no memory may be both written and executed, as under the service's unit.

oneDNN generates code at run time and cannot work there; torch's own kernels can.
"""

import mmap

import torch

_PAGE = 4096


def fit_in() -> bool:
    """Do without generated code where it is forbidden; tell whether it is."""
    is_forbidden = not _may_generate_code()
    if is_forbidden:
        torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    return is_forbidden


def _may_generate_code() -> bool:
    every = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    try:
        mmap.mmap(-1, _PAGE, prot=every).close()
    except OSError:
        return False
    return True
