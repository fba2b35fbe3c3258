"""Runs a program to which the kernel refuses io_uring, as the seccomp profiles of containers do.

    without_io_uring.py PROGRAM [ARGUMENT …]
"""

import ctypes
import os
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | 1  # EPERM
IO_URING_SETUP = 425  # on every architecture

program = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in [
        (LOAD_WORD, 0, 0, 0),  # the number of the call
        (JUMP_IF_EQUAL, 0, 1, IO_URING_SETUP),
        (RETURN, 0, 0, REFUSE),
        (RETURN, 0, 0, ALLOW),
    ]
)
libc = ctypes.CDLL(None, use_errno=True)
instructions = ctypes.create_string_buffer(program, len(program))
filter_ = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(instructions))
for call in [(PR_SET_NO_NEW_PRIVS, 1, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filter_)]:
    if libc.prctl(*call, 0, 0) != 0:
        sys.exit(f"prctl {call[0]}: {os.strerror(ctypes.get_errno())}")
os.execv(sys.argv[1], sys.argv[1:])
