"""Files from the network.

A file appears under its name when it is complete and its checksum is right, never before. Until
then it grows as ``NAME.part``, from which the next try goes on.
"""

from gpunet.downloads.cache import cache_folder, get_file

__all__ = ["get_file", "cache_folder"]
