#!/bin/bash
# A disk that stops taking writes in the middle of a sort, for real: the pool is on a file system in a sparse file on a disk
# that fills up, so a sync fails. The sort ends with a message, loses nothing that was committed, and goes on when there is
# room again. Needs the right to mount, and a disk.
. "$(dirname "$0")/lib.sh"

disk=$(mktemp -d "${TEST_TMPDIR:-/var/tmp}/ppmm-disk.XXXXXX")
[[ $(stat -f -c %T "$disk") != tmpfs ]] || { rmdir "$disk"; echo "no disk: set TEST_TMPDIR to a folder on one"; exit 77; }
clean_up() {
  umount "$disk/inner" 2> /dev/null || true
  umount "$disk/outer" 2> /dev/null || true
  rm -rf "$disk" "$dir"
}
trap 'status=$?; cd /; clean_up; exit $status' EXIT
command -v mkfs.ext4 > /dev/null || { echo "no mkfs.ext4"; exit 77; }

mkdir "$disk/outer" "$disk/inner"
refuse_all=${PPMM_REFUSE_ALL:-}  # the file system's own blocks too: docs/design.md, "When a sync fails"
truncate -s "$([[ -n $refuse_all ]] && echo 80M || echo 300M)" "$disk/outer.img"
mkfs.ext4 -q -F "$disk/outer.img"
mount -o loop "$disk/outer.img" "$disk/outer" 2> /dev/null || { echo "no right to mount"; exit 77; }
truncate -s 400M "$disk/outer/inner.img"
mkfs.ext4 -q -F "$disk/outer/inner.img"
mount -o loop "$disk/outer/inner.img" "$disk/inner"

random_lines 300000 1000000 > lines
sort lines > expected
pool=$disk/inner/a.pool
"$PPMM" create "$pool" --size 120M --durability power > log
grep -q 'power: .*page granularity' log || { echo "no page granularity here: $(cat log)"; exit 77; }
# What will fail are writes of the pool's bytes, and none of the file system's own, whose loss nobody is told: so all the
# pool's blocks are written once, and then those that are zero are taken out of the disk again.
if [[ -z $refuse_all ]]; then
  dd if="$pool" of="$pool" bs=1M conv=notrunc,fsync status=none
  block=$(stat -f -c %S "$pool")
  filefrag -b"$block" -v "$pool" | awk -v b="$block" '$1 ~ /^[0-9]+:$/ { gsub(/[.:]/, " "); first = $4 * b; last = first + $6 * b
    first = int((first + 65535) / 65536) * 65536; last = int(last / 65536) * 65536; if (first < last) print first, last - first }' > extents
  cp "$pool" whole
  while read -r offset bytes; do fallocate --dig-holes -o "$offset" -l "$bytes" "$disk/outer/inner.img"; done < extents
  dd if="$pool" iflag=direct bs=1M status=none | cmp - whole || fail "not only zeros were taken out of the disk"
  rm whole
fi
sync -f "$pool"

room() { stat -f -c '%f * %S / 1048576' "$disk/outer" | { IFS= read -r sum; echo $((sum)); }; }
leave=5  # MiB
fallocate -l $(($(room) - leave))M "$disk/outer/fill"
expect 1 'expected to make the pool.s pages durable, found: .*What was committed before is whole' \
  "$PPMM" sort --pool "$pool" --heartbeat 20000 --workers 2 --output got lines
[[ ! -e got ]] || fail "half an output"
"$PPMM" jobs "$pool" | says unfinished || fail "the job is gone"

# Again, with as little room: it fails again, and what it had is kept. Worker processes are told what one of them met.
for as in threads processes; do
  expect 1 "expected to make the pool.s pages durable, found: .*What was committed before is whole|$(basename "$pool"): .*found that a sync failed: " \
    "$PPMM" sort --pool "$pool" --heartbeat 20000 --workers 2 --workers-as $as --output got lines
done

rm "$disk/outer/fill"
"$PPMM" check "$pool" > check.log || fail "check: $(cat check.log)"
"$PPMM" sort --pool "$pool" --output got --progress plain --workers 2 lines 2> log || fail "status $?: $(cat log)"
grep -q 'resumed at' log || fail "not resumed: $(cat log)"
cmp got expected || fail "another answer"
echo "all equal"
