/* Shared cells (sched/safepoint.cpp:load_cell, cam_cell; docs/design.md, Idempotence): words that change only by CAM and
 * never return to an old value.
 *
 * Two writers each try to settle cell x, on their own; a reader that finds x settled settles y alike, and commits. When
 * all are done x and y must agree, whatever crashed: nothing durable may rest on a value that a crash took back.
 *
 *   -DCRASHES=2    crashes of all     -DWITHOUT=<RULE>  leaves out a rule
 */
#ifndef CRASHES
#define CRASHES 2
#endif
#define NO_READ_FLUSH 1     /* a value read from a cell is persisted before a later CAM */
#define NO_RETURN 2         /* a cell never returns to an old value: here a writer may take its value back */
#define NO_CAM_FLUSH 3      /* a commit flushes the cells that its capsule changed */
#ifndef WITHOUT
#define WITHOUT 0
#endif
byte without = WITHOUT;
#define KEPT(rule) (without != rule)

#define FREE 0
byte x, dx, y, dy;           /* visible, durable */
bit done[3], ddone[3];       /* records: writers 0 and 1, the reader 2; 1: past its capsule */
byte at[3];                  /* ephemeral */
byte seen;
byte crashes;

inline store_x(v) { if :: x != dx -> dx = x :: true fi; x = v }

proctype writer(byte me) {
  do
  :: atomic { done[me] && ddone[me] && at[me] == 0 -> break }
  :: atomic { !done[me] && at[me] == 0 -> if :: x == FREE -> store_x(me + 1) :: else fi; at[me] = 1 }
  :: atomic { !KEPT(NO_RETURN) && at[me] == 1 && x == me + 1 && y == 0 && !done[2] -> store_x(FREE); at[me] = 0 }
  :: atomic { at[me] == 1 -> if :: KEPT(NO_CAM_FLUSH) -> dx = x :: else fi; done[me] = 1; at[me] = 2 }
  :: atomic { at[me] == 2 -> ddone[me] = 1; at[me] = 0 }
  :: atomic { done[me] && !ddone[me] && at[me] == 0 -> ddone[me] = 1 }
  od
}

proctype reader() {
  do
  :: atomic { done[2] && ddone[2] && at[2] == 0 -> break }
  :: atomic { !done[2] && at[2] == 0 && x != FREE -> seen = x; at[2] = 1 }
  :: atomic { at[2] == 1 ->
       if :: KEPT(NO_READ_FLUSH) -> dx = x :: else fi;
       if :: y == FREE -> y = seen :: else fi; /* CAM */
       at[2] = 2 }
  :: atomic { at[2] == 2 -> dy = y; done[2] = 1; at[2] = 3 }
  :: atomic { at[2] == 3 -> ddone[2] = 1; at[2] = 0; seen = 0 }
  :: atomic { done[2] && !ddone[2] && at[2] == 0 -> ddone[2] = 1 }
  od
}

#define ALL_DONE (ddone[0] && ddone[1] && ddone[2] && done[0] && done[1] && done[2] && at[0] + at[1] + at[2] == 0)

proctype crash_of_all() {
  byte i;
  do
  :: atomic { ALL_DONE -> assert(x == y && x != FREE); break }
  :: atomic { crashes < CRASHES && !ALL_DONE ->
       crashes++;
       if :: x = dx :: dx = x fi;
       if :: y = dy :: dy = y fi;
       i = 0;
       do
       :: i < 3 -> if :: done[i] = ddone[i] :: ddone[i] = done[i] fi; at[i] = 0; i++
       :: else -> break
       od; i = 0; seen = 0 }
  od
}

init {
  atomic {
#ifdef CHOOSE
    c_code { const char* rule = getenv("WITHOUT"); if (rule) now.without = atoi(rule); };
#endif
    run writer(0); run writer(1); run reader(); run crash_of_all()
  }
}
