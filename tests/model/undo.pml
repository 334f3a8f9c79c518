/* The undo log of updates in place (sched/undo.cpp; docs/design.md, Idempotence and Grave robbing).
 *
 * Two strands, each of CAPSULES capsules that add 1 to the strand's word of the user's. Before that the capsule saves the old
 * value in its worker's log, and persists it. Whoever repeats the capsule undoes first: after a crash of all, or a soft
 * fault, the worker itself; after its death the robber. When all is done each word is CAPSULES.
 *
 * A log is an entry in a chunk, which the slot's undo word names: the first that is free, for who saves for the first time in a
 * run. An entry counts if slot and sequence are those of the slot's newest record.
 *
 *   -DCRASHES=2    crashes of all     -DHARD=1  deaths     -DSOFT=0  soft faults    -DWITHOUT=<RULE>  leaves out a rule
 *   -DCAPSULES=2   With -DCHOOSE pan takes the rule, and the numbers of faults, from its environment
 */
#ifndef CRASHES
#define CRASHES 2
#endif
#ifndef HARD
#define HARD 1
#endif
#ifndef SOFT
#define SOFT 0
#endif
#ifndef CAPSULES
#define CAPSULES 2
#endif
#define NO_LOG_FIRST 1       /* the log is durable before the word is changed */
#define NO_UNDO_ON_RESUME 2
#define NO_UNDO_WHILE_ROB 3  /* the robber undoes before it copies the record */
#define NO_UNDO_PERSIST 4    /* and persists what it has undone */
#define NO_LOG_ENDS 5        /* a log counts only for the record it was written under: its sequence */
#define NO_DATA_FENCE 6      /* F1: the word is durable before the record that is past it */
#define NO_SLOT_IN_LOG 7     /* an entry carries its slot */
#define NO_NEW_SEQUENCE 8    /* after undoing, the record is written again */
#ifndef WITHOUT
#define WITHOUT 0
#endif
byte without = WITHOUT;
byte max_crashes = CRASHES, max_soft = SOFT, max_hard = HARD;
#define KEPT(rule) (without != rule)

/* Records: sequence 4 bits; strand 2 (none: idle); capsules done 2; ROB of the other slot 1. */
#define NONE 2
#define SEQUENCE(r) ((r) & 15)
#define STRAND(r) ((r) >> 4 & 3)
#define AT(r) ((r) >> 6 & 3)
#define ROB BIT(8)
#define BIT(i) (1 << (i))
#define RECORD(q, s, a) ((q) | (s) << 4 | (a) << 6)
short record[2], durable_record[2];
byte word[2], durable_word[2];      /* of the strands */
bit robbed[2], durable_robbed[2];   /* owner words: by the other slot */
byte undo[2], durable_undo[2];      /* the slots' undo words: chunk + 1 */
/* What is in a chunk: nothing that counts, or {sequence 4, slot 1, strand 1, old value 2} + 1. */
#define ENTRY(q, w, s, old) (1 + ((q) | (w) << 4 | (s) << 5 | (old) << 6))
#define ENTRY_SEQUENCE(e) ((e) - 1 & 15)
#define ENTRY_SLOT(e) ((e) - 1 >> 4 & 1)
#define ENTRY_STRAND(e) ((e) - 1 >> 5 & 1)
#define ENTRY_OLD(e) ((e) - 1 >> 6 & 3)
#define CHUNKS 4
short chunk[CHUNKS], durable_chunk[CHUNKS];

mtype:step = { off, dead, enter, own, idle, save, change, commit, committed, rob_cam, rob_read, rob_copy };
mtype:step pc[2];
byte log[2];                        /* the chunk that this run's log of the worker is in, + 1 */
byte in_use;                        /* chunks that were taken in this run, or that recovery has marked */
byte crashes, hards, softs;
bit over;
#define OTHER(w) (1 - (w))
#define ROBS(w) ((record[w] & ROB) && robbed[OTHER(w)])

inline store_word(s, v) { if :: word[s] != durable_word[s] -> durable_word[s] = word[s] :: true fi; word[s] = v }
inline store_chunk(c, v) { if :: chunk[c] != durable_chunk[c] -> durable_chunk[c] = chunk[c] :: true fi; chunk[c] = v }
inline write_record(r) { assert(SEQUENCE(r) < 15); record[me] = r }

/* undo.cpp:find_undo */
#define FOUND(w) (undo[w] != 0 && COUNTS(w, chunk[undo[w] - 1]))
#define COUNTS(w, e) ((e) != 0 && (ENTRY_SEQUENCE(e) == SEQUENCE(record[w]) || !KEPT(NO_LOG_ENDS)) && \
                      (ENTRY_SLOT(e) == (w) || !KEPT(NO_SLOT_IN_LOG)))
/* undo.cpp:roll_back */
inline roll_back(w) {
  e = chunk[undo[w] - 1];
  store_word(ENTRY_STRAND(e), ENTRY_OLD(e));
  if :: KEPT(NO_UNDO_PERSIST) -> durable_word[ENTRY_STRAND(e)] = word[ENTRY_STRAND(e)] :: else fi;
  e = 0
}

#define IS_DONE(w) (record[w] == durable_record[w] && !ROBS(w) && (STRAND(record[w]) == NONE || AT(record[w]) == CAPSULES))
#define AT_REST(w) (pc[w] == idle || pc[w] == off || pc[w] == dead && robbed[w])
#define ALL_DONE (AT_REST(0) && AT_REST(1) && (IS_DONE(0) || robbed[0]) && (IS_DONE(1) || robbed[1]))

proctype worker(byte me) {
  short e;
  do
  :: atomic { over -> break }
  /* -- adopt.cpp:enter_slot: a new life in one that was robbed */
  :: atomic { pc[me] == enter ->
       if
       :: robbed[me] -> write_record(RECORD(SEQUENCE(record[me]) + 1, NONE, 0)); durable_record[me] = record[me]; robbed[me] = 0; durable_robbed[me] = 0
       :: else
       fi;
       pc[me] = own }
  /* -- worker.cpp:find_work: the record is persisted; recover_heap: what the capsule has updated is undone; then the record is
   * written again, which makes the log void */
  :: atomic { pc[me] == own ->
       durable_record[me] = record[me];
       if
       :: FOUND(me) && KEPT(NO_UNDO_ON_RESUME) ->
          roll_back(me);
          if
          :: KEPT(NO_NEW_SEQUENCE) -> write_record(record[me] + 1); pc[me] = committed
          :: else -> pc[me] = (record[me] & ROB -> rob_read : (STRAND(record[me]) == NONE || AT(record[me]) == CAPSULES -> idle : save))
          fi
       :: else -> pc[me] = (record[me] & ROB -> rob_read : (STRAND(record[me]) == NONE || AT(record[me]) == CAPSULES -> idle : save))
       fi }
  /* -- undo.cpp:save: a chunk, if there is none; the undo word; the entry; a fence; then the word is changed */
  :: atomic { pc[me] == save ->
       if
       :: log[me] == 0 -> do :: in_use & BIT(log[me]) -> log[me]++ :: else -> break od; in_use = in_use | BIT(log[me]); log[me]++
       :: else
       fi;
       assert(log[me] <= CHUNKS);
       if
       :: undo[me] != log[me] -> if :: undo[me] != durable_undo[me] -> durable_undo[me] = undo[me] :: true fi; undo[me] = log[me]
       :: else
       fi;
       store_chunk(log[me] - 1, ENTRY(SEQUENCE(record[me]), me, STRAND(record[me]), word[STRAND(record[me])]));
       pc[me] = change }
  :: atomic { pc[me] == change ->
       if :: KEPT(NO_LOG_FIRST) -> durable_undo[me] = undo[me]; durable_chunk[log[me] - 1] = chunk[log[me] - 1] :: else fi;
       store_word(STRAND(record[me]), word[STRAND(record[me])] + 1);
       pc[me] = commit }
  /* -- commit.cpp:commit: F1, the record */
  :: atomic { pc[me] == commit ->
       if :: KEPT(NO_DATA_FENCE) -> durable_word[STRAND(record[me])] = word[STRAND(record[me])] :: else fi;
       write_record(RECORD(SEQUENCE(record[me]) + 1, STRAND(record[me]), AT(record[me]) + 1));
       pc[me] = committed }
  /* F2 */
  :: atomic { pc[me] == committed ->
       durable_record[me] = record[me];
       pc[me] = (record[me] & ROB -> rob_cam : (STRAND(record[me]) == NONE || AT(record[me]) == CAPSULES -> idle : save)) }

  /* -- adopt.cpp:rob_a_grave, finish_rob. A strand that is done needs no record */
  :: atomic { pc[me] == idle && pc[OTHER(me)] == dead && !robbed[OTHER(me)] ->
       write_record(RECORD(SEQUENCE(record[me]) + 1, NONE, 0) | ROB);
       pc[me] = committed }
  :: atomic { pc[me] == rob_cam -> robbed[OTHER(me)] = 1; pc[me] = rob_read }
  :: atomic { pc[me] == rob_read ->
       durable_robbed[OTHER(me)] = robbed[OTHER(me)];
       if
       :: robbed[OTHER(me)] ->
          if :: FOUND(OTHER(me)) && KEPT(NO_UNDO_WHILE_ROB) -> roll_back(OTHER(me)) :: else fi;
          pc[me] = rob_copy
       :: else -> pc[me] = idle
       fi }
  :: atomic { pc[me] == rob_copy ->
       write_record(RECORD(SEQUENCE(record[me]) + 1, STRAND(record[OTHER(me)]), AT(record[OTHER(me)])));
       pc[OTHER(me)] = off;
       pc[me] = committed }

  /* -- worker.cpp:live, fault.cpp: a soft fault keeps the log's chunk, a hard one loses it for the run */
  :: atomic { softs < max_soft && pc[me] != off && pc[me] != dead && pc[me] != enter && pc[me] != own && pc[me] != idle -> softs++; pc[me] = own }
  :: atomic { hards < max_hard && pc[me] != off && pc[me] != dead && pc[me] != enter -> hards++; pc[me] = dead }
  od
}

/* The machine stops: a line keeps what is visible, or falls back. */
inline falls(v, d) { if :: v == d :: v != d -> v = d :: v != d -> d = v fi }

proctype crash_of_all() {
  byte i;
  do
  :: atomic { ALL_DONE -> assert(word[0] == CAPSULES && word[1] == CAPSULES); over = 1; break }
  :: atomic { !ALL_DONE && (crashes < max_crashes || (pc[0] == dead || pc[0] == off) && (pc[1] == dead || pc[1] == off)) ->
       if
       :: crashes < max_crashes ->
          crashes++;
          if
          :: true -> /* the machine */
             i = 0;
             do
             :: i < 2 ->
                falls(record[i], durable_record[i]);
                falls(robbed[i], durable_robbed[i]);
                falls(word[i], durable_word[i]);
                falls(undo[i], durable_undo[i]);
                i++
             :: else -> break
             od;
             i = 0;
             do
             :: i < CHUNKS ->
                if
                :: chunk[i] == durable_chunk[i]
                :: chunk[i] != durable_chunk[i] -> chunk[i] = durable_chunk[i]
                :: chunk[i] != durable_chunk[i] -> durable_chunk[i] = chunk[i]
                :: chunk[i] != durable_chunk[i] -> chunk[i] = 0; durable_chunk[i] = 0 /* torn: its checksum does not fit */
                fi;
                i++
             :: else -> break
             od
          :: true /* the process */
          fi
       :: else /* workers_lost: the job is run again */
       fi;
       /* recover.cpp: the records are persisted; chunks of logs that count are in use */
       in_use = 0; i = 0;
       do
       :: i < 2 ->
          durable_record[i] = record[i]; durable_robbed[i] = robbed[i];
          log[i] = 0;
          if :: (!robbed[i] || ROBS(OTHER(i))) && FOUND(i) -> in_use = in_use | BIT(undo[i] - 1) :: else fi;
          pc[i] = (ROBS(OTHER(i)) -> off : enter);
          i++
       :: else -> break
       od; i = 0 }
  od
}

init {
  atomic {
#ifdef CHOOSE
    c_code {
      const char* given;
      if ((given = getenv("WITHOUT"))) now.without = atoi(given);
      if ((given = getenv("CRASHES"))) now.max_crashes = atoi(given);
      if ((given = getenv("HARD"))) now.max_hard = atoi(given);
      if ((given = getenv("SOFT"))) now.max_soft = atoi(given);
    };
#endif
    record[0] = RECORD(1, 0, 0); durable_record[0] = record[0];
    record[1] = RECORD(1, 1, 0); durable_record[1] = record[1];
    pc[0] = own; pc[1] = own;
    run worker(0); run worker(1); run crash_of_all()
  }
}
