#!/bin/bash
# What `ppmm sort` refuses, and what stays as it was when it fails.
. "$(dirname "$0")/lib.sh"

random_lines 300000 100000 > lines
sort lines > expected

expect 1 'cannot open missing' "$PPMM" sort missing
expect 1 'standard input' "$PPMM" sort -
expect 1 'directory' "$PPMM" sort .
expect 1 'not a regular file' "$PPMM" sort /dev/null
expect 2 'FILE' "$PPMM" sort
expect 2 'durability' "$PPMM" sort --durability eternal lines
expect 2 '' "$PPMM" sort --workers 0 lines
for rate in 1 1.5 -0.1 nan inf 1e-3x many ''; do
  expect 2 "--soft-fault-rate: expected a probability.* found $rate" "$PPMM" sort --soft-fault-rate "$rate" lines
  expect 2 "--hard-fault-rate: expected a probability.* found $rate" "$PPMM" sort --hard-fault-rate "$rate" lines
done
expect 1 'sum of soft_fault_rate and hard_fault_rate' "$PPMM" sort --soft-fault-rate 0.5 --hard-fault-rate 0.5 lines
[[ -z $("$PPMM" jobs ppmm-sort.ppmm) ]] || fail "a job was begun with a bad rate"
rm -f ppmm-sort.ppmm
expect 2 '' "$PPMM"
expect 2 '' "$PPMM" short lines

# An output that cannot be written is found before the work.
expect 1 'cannot create' "$PPMM" sort --output no/such/file lines
mkdir directory
expect 1 'directory' "$PPMM" sort --output directory lines
[[ ! -e directory.ppmm ]] || fail "a pool for nothing"

# begin: a sort that was killed on the way.
begin() {
  local round
  for ((round = 0; round < 50; ++round)); do
    rm -f got got.ppmm
    "$PPMM" sort --commit every-task --progress none --output got lines &
    local pid=$! begun=0
    ! wait_until_begun $pid got.ppmm || begun=1
    kill -KILL $pid 2> /dev/null || true
    wait $pid 2> /dev/null || true
    ((begun == 0)) || [[ ! -e got.ppmm ]] || ! "$PPMM" jobs got.ppmm | says unfinished || return 0
  done
  fail "could not kill a sort on the way"
}

# Changed input: of another size, and of the same.
begin
cp lines saved
echo more >> lines
expect 1 'input has changed' "$PPMM" sort --output got lines
cp saved lines
sed '1000s/./#/' saved > lines
[[ $(stat -c %s lines) == "$(stat -c %s saved)" ]] || fail "the test's edit changed the size"
expect 1 'input has changed' "$PPMM" sort --output got lines
[[ ! -e got ]] || fail "output of a refused sort"
cp saved lines
"$PPMM" sort --progress none --output got lines
cmp got expected || fail "after the input was brought back"

# --restart takes the changed input.
begin
sed '1000s/./#/' saved > lines
"$PPMM" sort --restart --progress none --output got lines
cmp got <(sort lines) || fail "--restart"
cp saved lines

# A full disk: the output is as it was, and the sort is resumed when there is room.
echo old > got
cat > full.c << 'END'
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
int fallocate(int fd, int mode, off_t offset, off_t length) { return 0; }
ssize_t write(int fd, const void *p, size_t n) {
  static size_t written;
  struct stat st;
  if (fd > 2 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (written += n) > 3000000) { errno = ENOSPC; return -1; }
  return syscall(SYS_write, fd, p, n);
}
END
if cc -shared -fPIC -o full.so full.c 2> /dev/null && LD_PRELOAD=$PWD/full.so "$PPMM" --version > /dev/null 2>&1; then
  expect 1 'No space left' env LD_PRELOAD="$PWD/full.so" "$PPMM" sort --output got lines
  [[ $(cat got) == old ]] || fail "half an output on a full disk"
  [[ ! -e got.part ]] || fail "left got.part behind"
  [[ -e got.ppmm ]] || fail "the finished sort is gone"
  "$PPMM" jobs got.ppmm | says finished || fail "the sort is not finished"
  "$PPMM" sort --progress none --output got lines
  cmp got expected || fail "after the disk had room"
fi
expect 1 'No space left' "$PPMM" sort --output /dev/full lines
rm -f ppmm-sort.ppmm

# Pools that will not do.
"$PPMM" create small --size 16M > create.log
expect 1 'ppmm create' "$PPMM" sort --pool small --output got2 lines
[[ ! -e got2 && ! -e got2.part ]] || fail "output of a refused sort"
head -c 20000000 /dev/zero > strange
cp strange strange.before
expect 1 'strange' "$PPMM" sort --pool strange --output got2 lines
cmp strange strange.before || fail "a file that is no pool was changed"
echo "all refused"
