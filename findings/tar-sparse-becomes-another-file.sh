#!/bin/bash
# busybox and toybox tar with a sparse file that GNU tar or bsdtar packed in the pax format: exit code 0; and the file is not there.
# Expected: the file, with or without its holes, or an error. Every tar here claims to read POSIX (pax) archives.
# A sparse member of pax format 1.0 has an invented name in the plain header and the real one in a pax keyword; its data begin
# with a map of the holes. Who does not know the keywords writes "GNUSparseFile.N/NAME" with the map inside: 515 bytes instead
# of a million. bsdtar packs so without being asked; GNU tar with -S and -H pax. In the GNU format busybox says "unknown typeflag" and toybox gets it right.
# Why it matters: results packed on a cluster and unpacked in a container of Alpine are silently others.
. "$(dirname "$0")/common.sh"
with_debian trixie busybox-static=1:1.37.0-6+b9 toybox=0.8.9+dfsg-1.1 libarchive-tools=3.7.4-4+deb13u1 tar=1.35+dfsg-3.1 dash coreutils findutils sed

cat >"$tmp/pack.sh" <<'END'
cd /tmp/files
truncate --size=1M data && printf end >>data
bsdtar -cf ../bsd.tar data
tar -cS --format=pax -f ../pax.tar data
tar -cS --format=gnu -f ../gnu.tar data
END
cat >"$tmp/unpack.sh" <<'END'
archive=$1
shift
rm -rf /tmp/out && mkdir /tmp/out && cd /tmp/out
"$@" -xf "/tmp/$archive.tar" 2>&1 || code=$?
echo "exit code ${code:-0}; $(find . -type f -printf '%P has %s bytes' | sed 's/File[.][0-9]*/File.N/')"
END
mkdir "$tmp/files"
within sh /tmp/pack.sh
unpacked() { within sh /tmp/unpack.sh "$@"; }

expected "exit code 0; data has 1048579 bytes; or an error"
version "GNU tar 1.35, bsdtar 3.7.4"
seen "$(unpacked pax tar; unpacked bsd tar; unpacked pax bsdtar)" "exit code 0; data has 1048579 bytes
exit code 0; data has 1048579 bytes
exit code 0; data has 1048579 bytes"
version "busybox 1.37.0: archives of bsdtar, of GNU tar in pax format and in GNU format"
seen "$(for archive in bsd pax gnu; do unpacked $archive busybox tar; done)" "exit code 0; GNUSparseFile.N/data has 515 bytes
exit code 0; GNUSparseFile.N/data has 515 bytes
tar: unknown typeflag: 0x53
exit code 1; "
version "toybox 0.8.9: the same"
seen "$(for archive in bsd pax gnu; do unpacked $archive toybox tar; done)" "exit code 0; GNUSparseFile.N/data has 515 bytes
exit code 0; GNUSparseFile.N/data has 515 bytes
exit code 0; data has 1048579 bytes"
