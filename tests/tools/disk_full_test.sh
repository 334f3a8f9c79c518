#!/bin/bash
# A disk that stops taking writes in the middle of a sort, for real: the pool is on a file system in a sparse file on a disk
# that fills up, so a sync fails. The sort ends with a message, loses nothing that was committed, and goes on when there is
# room again. Needs the right to mount, and a disk.
. "$(dirname "$0")/lib.sh"

disk=$(mktemp -d "${TEST_TMPDIR:-/var/tmp}/ppmm-disk.XXXXXX")
[[ $(stat -f -c %T "$disk") != tmpfs ]] || { rmdir "$disk"; echo "no disk: set TEST_TMPDIR to a folder on one"; exit 77; }
clean_up() {
  umount "$disk/inner" 2> /dev/null || true
  [[ -z ${device:-} ]] || losetup --detach "$device" 2> /dev/null || true
  umount "$disk/outer" 2> /dev/null || true
  rm -rf "$disk" "$dir"
}
trap 'status=$?; cd /; clean_up; exit $status' EXIT
command -v mkfs.ext4 > /dev/null || { echo "no mkfs.ext4"; exit 77; }

mkdir "$disk/outer" "$disk/inner"
truncate -s 80M "$disk/outer.img"
mkfs.ext4 -q -F -b 4096 "$disk/outer.img"
mount -o loop "$disk/outer.img" "$disk/outer" 2> /dev/null || { echo "no right to mount"; exit 77; }
truncate -s 400M "$disk/outer/inner.img"
mkfs.ext4 -q -F -b 4096 "$disk/outer/inner.img"
# The loop driver takes a write that was cut short for one that was done (lo_complete_rq in Linux' drivers/block/loop.c goes
# on after a short read only): where the disk has room for half of it, the other half is lost and nobody told. So no write
# is longer than a block.
device=$(losetup --find --show "$disk/outer/inner.img") || { echo "no loop device to be had"; exit 77; }
{ echo 4 > "/sys/block/${device#/dev/}/queue/max_sectors_kb"; } 2> /dev/null || { echo "no right to set up a disk that tells all that it loses"; exit 77; }
mount "$device" "$disk/inner"

random_lines 300000 1000000 > lines
sort lines > expected
pool=$disk/inner/a.pool
"$PPMM" create "$pool" --size 120M --durability power > log 2> warned
grep -q 'power: .*page granularity' log || { echo "no page granularity here: $(cat log)"; exit 77; }
grep -q "stands on .*inner.img, which has holes" warned || fail "no warning of what the disk stands on: $(cat warned)"
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
