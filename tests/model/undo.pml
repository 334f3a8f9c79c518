/* The undo log of updates in place (seed design, Idempotence and Grave robbing; not built).
 *
 * One capsule adds 1 to a word of the user's. Before that it saves the old value in its worker's log and persists it. Whoever
 * repeats the capsule undoes first: after a crash of all the worker itself, after its death the robber. Done, the word is 1.
 *
 *   -DCRASHES=2    crashes of all     -DHARD=1  deaths     -DWITHOUT=<RULE>  leaves out a rule
 */
#ifndef CRASHES
#define CRASHES 2
#endif
#ifndef HARD
#define HARD 1
#endif
#define NO_LOG_FIRST 1       /* the log is durable before the word is changed */
#define NO_UNDO_ON_RESUME 2
#define NO_UNDO_WHILE_ROB 3  /* the robber undoes before it copies the record */
#define NO_UNDO_PERSIST 4    /* and persists what it has undone */
#define NO_LOG_ENDS 5        /* a log counts only for the record it was written under */
#define NO_DATA_FENCE 6      /* F1: the word is durable before the record that is past it */
#ifndef WITHOUT
#define WITHOUT 0
#endif
byte without = WITHOUT;
#define KEPT(rule) (without != rule)

/* Records: none, before the capsule, past it, about to rob the other. */
#define IDLE 0
#define BEFORE 1
#define PAST 2
#define ROB 3
byte record[2], drecord[2];
byte word, dword;
byte log[2], dlog[2];        /* 0: empty; else 1 + old value. The record it was written under is BEFORE */
bit robbed, drobbed;         /* worker 0's owner word, by worker 1 */

mtype:step = { off, dead, begin, rob_cam, rob_read, rob_copy, resume, save, change, commit, past, idle };
mtype:step pc[2];
byte crashes, hards;

inline store_word(v) { if :: word != dword -> dword = word :: true fi; word = v }
#define COUNTS(w) (log[w] != 0 && (record[w] == BEFORE || !KEPT(NO_LOG_ENDS) && record[w] == PAST))

#define DONE(w) (drecord[w] == PAST && record[w] == PAST)

proctype worker(byte me) {
  do
  :: atomic { (DONE(0) || DONE(1)) && (pc[me] == idle || pc[me] == dead) -> break }
  :: atomic { pc[me] == begin ->
       drecord[me] = record[me];
       if
       :: record[me] == ROB -> pc[me] = rob_read
       :: record[me] == BEFORE && !(me == 0 && robbed) -> pc[me] = resume
       :: else -> pc[me] = idle
       fi }
  /* adopt.cpp:rob_a_grave, finish_rob */
  :: atomic { me == 1 && pc[1] == idle && record[1] != PAST && pc[0] == dead && !robbed -> record[1] = ROB; pc[1] = rob_cam }
  :: atomic { pc[me] == rob_cam -> drecord[1] = ROB; robbed = 1; pc[me] = rob_read }
  :: atomic { pc[me] == rob_read ->
       drobbed = robbed;
       if
       :: !robbed -> pc[me] = idle
       :: robbed && KEPT(NO_UNDO_WHILE_ROB) && log[0] != 0 && record[0] == BEFORE -> store_word(log[0] - 1); pc[me] = rob_copy
       :: else -> pc[me] = rob_copy
       fi }
  :: atomic { pc[me] == rob_copy ->
       if :: KEPT(NO_UNDO_PERSIST) -> dword = word :: else fi;
       log[1] = 0; dlog[1] = 0;
       record[1] = record[0];
       pc[me] = begin }
  /* repeating */
  :: atomic { pc[me] == resume ->
       if
       :: COUNTS(me) && KEPT(NO_UNDO_ON_RESUME) -> store_word(log[me] - 1)
       :: else
       fi;
       pc[me] = save }
  /* cx.update */
  :: atomic { pc[me] == save -> log[me] = 1 + word; if :: KEPT(NO_UNDO_PERSIST) -> dword = word :: else fi; pc[me] = change }
  :: atomic { pc[me] == change ->
       if :: KEPT(NO_LOG_FIRST) -> dlog[me] = log[me] :: else fi;
       store_word(word + 1);
       pc[me] = commit }
  :: atomic { pc[me] == commit -> if :: KEPT(NO_DATA_FENCE) -> dword = word :: else fi; record[me] = PAST; pc[me] = past }
  :: atomic { pc[me] == past -> drecord[me] = PAST; pc[me] = idle }
  /* a hard fault */
  :: atomic { me == 0 && hards < HARD && pc[0] != off && pc[0] != idle -> hards++; pc[0] = dead }
  od
}

proctype crash_of_all() {
  byte i;
  do
  :: atomic { (DONE(0) || DONE(1)) && (crashes == CRASHES) -> assert(word == 1); break }
  :: atomic { crashes < CRASHES ->
       crashes++;
       if :: word = dword :: dword = word fi;
       if :: robbed = drobbed :: drobbed = robbed fi;
       i = 0;
       do
       :: i < 2 ->
          if :: record[i] = drecord[i] :: drecord[i] = record[i] fi;
          if :: log[i] = dlog[i] :: dlog[i] = log[i] fi;
          i++
       :: else -> break
       od;
       /* what was left of a log that counts for a record past its capsule */
       i = 0;
       do
       :: i < 2 -> if :: !KEPT(NO_LOG_ENDS) && COUNTS(i) -> word = log[i] - 1 :: else fi; pc[i] = begin; i++
       :: else -> break
       od; i = 0 }
  od
}

init {
  atomic {
#ifdef CHOOSE
    c_code { const char* rule = getenv("WITHOUT"); if (rule) now.without = atoi(rule); };
#endif
    record[0] = BEFORE; drecord[0] = BEFORE;
    pc[0] = begin; pc[1] = begin;
    run worker(0); run worker(1); run crash_of_all()
  }
}
