"""Attributes of texts of variable length, read from the bytes of an HDF5 file.

HDF5 copies such a text as long as the heap says it is into room as large as the attribute says it
is, and crashes where a damaged file has the two differ. So attributes that hold them are read here,
every length checked; HDF5 reads everything else.

Reference:
    HDF5 File Format Specification, version 3.0: object headers, messages 0x0C and 0x10, and the
    global heap.
"""

import io
import struct

__all__ = ["Image", "StreamBytes"]

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_ATTRIBUTE, _CONTINUATION = 0x0C, 0x10
_VARIABLE = 9  # class of a type
# More parts than any header has: a guard against headers that lead in circles.
_MAX_PARTS = 1000
_BLOCK = 1 << 20


class Image:
    """The bytes of an HDF5 file.

    Args:
        data: bytes or mmap.

    Raises:
        ValueError: no HDF5 file, or one with addresses that aren't 8 bytes long.
    """

    def __init__(self, data):
        self._data = data
        self._base = next((n for n in self._starts() if data[n : n + 8] == _SIGNATURE), None)
        if self._base is None:
            raise ValueError("there is no HDF5 signature")
        version = self._take("<B", 8)[0]
        sizes = self._take("<BB", 13 if version < 2 else 9)
        if sizes != (8, 8):
            raise ValueError(f"addresses of {sizes} bytes aren't supported")

    def _starts(self):
        yield 0
        start = 512
        while start < len(self._data):
            yield start
            start *= 2

    def _take(self, form, place):
        """Return what lies at a place, counted from the start of HDF5's own data."""
        place += self._base
        size = struct.calcsize(form)
        if place < 0 or place + size > len(self._data):
            raise ValueError(f"it leads out of the file, to byte {place}")
        return struct.unpack(form, self._data[place : place + size])

    def _bytes(self, place, size):
        place += self._base
        if size < 0 or place < 0 or place + size > len(self._data):
            raise ValueError(f"it leads out of the file, to byte {place}")
        return bytes(self._data[place : place + size])

    def texts(self, address, name):
        """Return the texts that an attribute holds, as bytes, in one list.

        Args:
            address: int, of the object's header.
            name: str.

        Raises:
            ValueError: there is no such attribute in the header, or it is damaged.
        """
        wanted = name.encode()
        for place, size in self._messages(address):
            found = self._attribute(place, size, wanted)
            if found is not None:
                return found
        raise ValueError("it isn't where attributes of its kind are kept")

    # -- headers --------------------------------------------------------------------------

    def _messages(self, address):
        """Yield (place, size) of the attribute messages of an object's header."""
        newer = self._bytes(address, 4) == b"OHDR"
        if newer:
            (flags,) = self._take("<B", address + 5)
            start = address + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
            (size,) = self._take("<" + "BHIQ"[flags & 3], start)
            waiting = [(start + (1 << (flags & 3)), size)]
            head = "<BHB" + ("H" if flags & 0x04 else "")
        else:
            (size,) = self._take("<I", address + 8)
            waiting, head = [(address + 16, size)], "<HHBxxx"
        for _ in range(_MAX_PARTS):
            if not waiting:
                return
            place, size = waiting.pop(0)
            end = place + size
            while place + struct.calcsize(head) <= end:
                kind, length, flags = self._take(head, place)[:3]
                place += struct.calcsize(head)
                if place + length > end:
                    raise ValueError(f"a message of {length} bytes is longer than its header")
                if kind == _CONTINUATION:
                    start, size = self._take("<QQ", place)
                    # The newer ones have a signature in front and a checksum behind.
                    waiting.append((start + 4, size - 8) if newer else (start, size))
                elif kind == _ATTRIBUTE and not flags & 0x02:
                    yield place, length
                place += length
        raise ValueError("its header has too many parts")

    def _attribute(self, place, size, wanted):
        """Return the texts of the attribute at a place if it has the wanted name, else None."""
        end = place + size
        version, flags, name_size, type_size, space_size = self._take("<BBHHH", place)
        place += 8 + (version == 3)

        def padded(n):
            return (n + 7) // 8 * 8 if version == 1 else n

        name = self._bytes(place, name_size).split(b"\0", 1)[0]
        if name != wanted:
            return None
        place += padded(name_size)
        (kind,) = self._take("<B", place)
        if kind & 0x0F != _VARIABLE or (version > 1 and flags & 3):
            raise ValueError("its type isn't text of variable length")
        place += padded(type_size)
        count = self._count(place)
        place += padded(space_size)
        if place + 16 * count > end:
            raise ValueError(f"there is no room for {count} texts")
        return [self._text(*self._take("<IQI", place + 16 * i)) for i in range(count)]

    def _count(self, place):
        version, rank = self._take("<BB", place)
        sizes = self._take(f"<{rank}Q", place + (8 if version == 1 else 4)) if rank else ()
        count = 1
        for n in sizes:
            count *= n
        return count

    # -- heaps ----------------------------------------------------------------------------

    def _text(self, length, address, number):
        """Return one text; it may be shorter than its room in the heap, never longer."""
        if not address or not length:
            return b""
        if self._bytes(address, 4) != b"GCOL":
            raise ValueError(f"there is no heap of texts at byte {address}")
        (total,) = self._take("<Q", address + 8)
        place, end = address + 16, address + total
        while place + 16 <= end:
            found, size = self._take("<H6xQ", place)
            if found == number and number:
                if length > size:
                    raise ValueError(f"a text of {length} bytes has {size} in the heap")
                return self._bytes(place + 16, length)
            if not found or size > total:
                break
            place += 16 + (size + 7) // 8 * 8
        raise ValueError(f"there is no text {number} in the heap at byte {address}")


class StreamBytes:
    """A binary file object as something like bytes, of which only what is asked for is read."""

    def __init__(self, stream):
        self._stream = stream
        self._size = stream.seek(0, io.SEEK_END)
        if self._size is None:
            self._size = stream.tell()

    def __len__(self):
        return self._size

    def __getitem__(self, part):
        start, stop, _ = part.indices(self._size)
        self._stream.seek(start)
        return self._stream.read(max(0, stop - start))

    def find(self, wanted, start=0):
        """Return where some bytes are first found, -1 if nowhere."""
        while start < self._size:
            block = self[start : start + _BLOCK + len(wanted)]
            place = block.find(wanted)
            if place >= 0:
                return start + place
            start += _BLOCK
        return -1
