/* The heap's redo lists (docs/design.md, Heap): two workers, whose strands allocate and free; one line of bits.
 *
 * A capsule only notes what it allocates and frees. The commit that ends it writes the list, whose record names it; the
 * list is applied when the record is durable, and again by recovery. Two bits a block: allocated iff alloc != free.
 * `version` counts what was committed to each block: odd means allocated. So the bits can be compared with the truth.
 *
 *   -DB=1          blocks, all in worker 0's arena     -DCRASHES=2   crashes of all       -DSOFT=0  soft faults
 *   -DCOMMITS=5    commits of both together            -DWITHOUT=<RULE>  leaves out a rule
 */
#ifndef B
#define B 1
#endif
#ifndef CRASHES
#define CRASHES 2
#endif
#ifndef SOFT
#define SOFT 1
#endif
#ifndef COMMITS
#define COMMITS 5
#endif
#define W 2
#define BIT(i) (1 << (i))

#define ONE_BIT 1                 /* the seed design's bitmap: one bit a block */
#define NO_FREE_WAITS 2           /* H3 */
#define NO_BITS_BEFORE_NEXT 3     /* H2 */
#define NO_LIST_BEFORE_RECORD 4   /* H6 */
#define NO_REPLAY 5
#define NO_REPLAY_FENCE 6         /* H8 */
#define NO_RETIRED_LIST 7         /* H3 over a recovery */
#define NO_LOG 8                  /* H1: a capsule changes the bits itself */
#define NO_ONE_ARENA 9            /* H4 */
#define NO_FAULT_FREE_APPLY 10    /* H7 */
#ifndef WITHOUT
#define WITHOUT 0
#endif
byte without = WITHOUT;
#define KEPT(rule) (without != rule)

/* The line of bits, visible and durable. */
#define ALLOC(b) BIT(b)
#define FREE(b) BIT(B + (b))
#define IS_ALLOCATED(b) (KEPT(ONE_BIT) && ((bits & ALLOC(b)) != 0) != ((bits & FREE(b)) != 0) || !KEPT(ONE_BIT) && (bits & ALLOC(b)) != 0)
byte bits, durable_bits;

/* Records: for each block 3 bits of list (nothing, alloc := 0 or 1, free := 0 or 1) and 4 of version (to compare with). */
#define NOTHING 0
#define ALLOC_IS(v) (1 + (v))
#define FREE_IS(v) (3 + (v))
#define ENTRY(r, b) ((r) >> 7 * (b) & 7)
#define VERSION(r, b) ((r) >> (7 * (b) + 3) & 15)
#define EMPTIED(r) ((r) & ~(7 + 7 * 128))
short record[W], durable_record[W];
byte version[B];

mtype:step = { off, working, written, apply, recover, retire };
mtype:step pc[W], all = working;
/* A block: in the arena's free mask; noted as allocated by a capsule; allocated; noted as freed; freed, and waiting for the
 * freer's next record. With whose it is. */
mtype:state = { is_free, taken, used, freed, leaving };
mtype:state state[B];
byte by[B];
byte left[W];                     /* blocks of the record before, to be given back */
byte applied;                     /* by whom there are bits that no fence has covered yet */
byte commits, crashes, softs;

inline store_bits(x) { if :: bits != durable_bits && bits != (x) -> durable_bits = bits :: true fi; bits = x }

/* One entry of a list; v is absolute. arena.cpp:committed, heap.cpp:replay */
inline apply_entry(e, b) {
  if
  :: (e) == ALLOC_IS(0) -> store_bits(bits & ~ALLOC(b))
  :: (e) == ALLOC_IS(1) -> store_bits(bits | ALLOC(b))
  :: (e) == FREE_IS(0) && KEPT(ONE_BIT) -> store_bits(bits & ~FREE(b))
  :: (e) == FREE_IS(1) && KEPT(ONE_BIT) -> store_bits(bits | FREE(b))
  :: (e) >= FREE_IS(0) && !KEPT(ONE_BIT) -> store_bits(bits & ~ALLOC(b))
  :: (e) == NOTHING
  fi
}

inline count_versions(w) {
  i = 0;
  do
  :: i < B -> if :: VERSION(record[w], i) > version[i] -> version[i] = VERSION(record[w], i) :: else fi; i++
  :: else -> break
  od; i = 0
}

proctype worker(byte me) {
  byte i, k;
  short r;
end:
  do
  /* -- the capsule: cx.alloc, cx.free */
  :: atomic { pc[me] == working && (me == 0 || !KEPT(NO_ONE_ARENA)) ->
       i = 0;
       do :: i < B && state[i] != is_free -> i++ :: else -> break od;
       if
       :: i < B ->
          assert(version[i] % 2 == 0); /* never allocated twice */
          state[i] = taken; by[i] = me;
          if :: KEPT(NO_LOG) :: else -> k = ALLOC_IS((bits & FREE(i)) == 0); apply_entry(k, i) fi
       :: else
       fi; i = 0; k = 0 }
  :: atomic { pc[me] == working ->
       i = 0;
       do :: i < B -> if :: state[i] == used -> break :: i++ fi :: else -> break od;
       if
       :: i < B -> state[i] = freed; by[i] = me; assert(version[i] % 2 == 1) /* never freed twice */
       :: else
       fi; i = 0 }

  /* -- commit.cpp: the list is written; F1, which also covers the bits of the list before; then the record */
  :: atomic { pc[me] == working && commits < COMMITS ->
       commits++;
       if :: KEPT(NO_BITS_BEFORE_NEXT) && (applied & BIT(me)) -> durable_bits = bits :: else fi;
       applied = applied & ~BIT(me);
       i = 0; r = 0;
       do
       :: i < B ->
          k = NOTHING;
          if
          :: state[i] == taken && by[i] == me -> k = ALLOC_IS((bits & FREE(i)) == 0)
          :: state[i] == freed && by[i] == me -> k = FREE_IS((bits & ALLOC(i)) != 0)
          :: else
          fi;
          r = r | k << 7 * i;
          if :: k != NOTHING -> r = r | (version[i] + 1) << (7 * i + 3) :: else fi;
          i++
       :: else -> break
       od;
       record[me] = r; r = 0; i = 0; k = 0;
       pc[me] = written }
  /* F2 */
  :: atomic { pc[me] == written ->
       durable_record[me] = record[me];
       count_versions(me);
       pc[me] = apply }
  /* -- arena.cpp:committed: the bits; what the record before had freed can be used again */
  :: atomic { pc[me] == apply ->
       i = 0;
       do
       :: i < B && !(by[i] == me && (state[i] == taken || state[i] == freed)) ->
          if
          :: state[i] == leaving && by[i] == me && !(left[me] & BIT(i)) -> state[i] = is_free; by[i] = 0
          :: else
          fi; i++
       :: else -> break
       od;
       if
       :: i < B ->
          k = ENTRY(record[me], i);
          apply_entry(k, i);
          applied = applied | BIT(me);
          if
          :: state[i] == taken -> state[i] = used; by[i] = 0
          :: state[i] == freed && KEPT(NO_FREE_WAITS) -> state[i] = leaving; left[me] = left[me] | BIT(i)
          :: else -> state[i] = is_free; by[i] = 0
          fi
       :: else ->
          left[me] = 0;
          pc[me] = working
       fi; i = 0; k = 0 }

  /* -- a soft fault: the capsule's notes are lost (arena.cpp:forget), the record is persisted again */
  :: atomic { softs < SOFT && (pc[me] == working || pc[me] == written && !KEPT(NO_FAULT_FREE_APPLY)) ->
       softs++;
       i = 0;
       do
       :: i < B ->
          if
          :: by[i] == me && state[i] == taken -> state[i] = is_free; by[i] = 0
          :: by[i] == me && state[i] == freed -> state[i] = used; by[i] = 0
          :: else
          fi; i++
       :: else -> break
       od; i = 0;
       durable_record[me] = record[me];
       count_versions(me);
       pc[me] = working }
  od
}

proctype crash_of_all() {
  byte w, i, k;
end:
  do
  :: atomic { crashes < CRASHES ->
       crashes++;
       w = 0;
       do
       :: w < W ->
          pc[w] = off; left[w] = 0;
          w++
       :: else -> break
       od;
       applied = 0;
       i = 0;
       do :: i < B -> state[i] = is_free; by[i] = 0; i++ :: else -> break od;
       if
       :: true -> /* the machine */
          if :: bits = durable_bits :: durable_bits = bits fi;
          w = 0;
          do
          :: w < W && record[w] != durable_record[w] ->
             if
             :: record[w] = durable_record[w]
             :: KEPT(NO_LIST_BEFORE_RECORD) -> durable_record[w] = record[w]
             :: !KEPT(NO_LIST_BEFORE_RECORD) -> record[w] = EMPTIED(record[w]); durable_record[w] = record[w]
             fi
          :: w < W && record[w] == durable_record[w] -> w++
          :: else -> break
          od
       :: true /* the process */
       fi;
       w = 0; i = 0;
       all = recover }
  /* -- recover.cpp: the records are persisted; the lists are applied again; a fence */
  :: atomic { all == recover ->
       w = 0;
       do
       :: w < W ->
          durable_record[w] = record[w];
          count_versions(w);
          i = 0;
          do
          :: i < B -> k = ENTRY(record[w], i); if :: KEPT(NO_REPLAY) -> apply_entry(k, i) :: else fi; i++
          :: else -> break
          od;
          w++
       :: else -> break
       od;
       if :: KEPT(NO_REPLAY_FENCE) -> durable_bits = bits :: else fi;
       w = 0; i = 0; k = 0;
       all = retire }
  /* -- they are emptied, durably, one after the other; then the blocks can be had */
  :: atomic { all == retire && w < W ->
       if :: KEPT(NO_RETIRED_LIST) -> record[w] = EMPTIED(record[w]); durable_record[w] = record[w] :: else fi;
       w++ }
  :: atomic { all == retire && w == W ->
       i = 0;
       do
       :: i < B ->
          assert(IS_ALLOCATED(i) == version[i] % 2); /* nothing leaked, nothing freed that is in use */
          state[i] = (version[i] % 2 -> used : is_free);
          i++
       :: else -> break
       od;
       w = 0;
       do :: w < W -> pc[w] = working; w++ :: else -> break od;
       w = 0; i = 0;
       all = working }
  od
}

init {
  atomic {
#ifdef CHOOSE
    c_code { const char* rule = getenv("WITHOUT"); if (rule) now.without = atoi(rule); };
#endif
    byte w;
    w = 0;
    do :: w < B -> state[w] = is_free; w++ :: else -> break od;
    w = 0;
    do :: w < W -> pc[w] = working; run worker(w); w++ :: else -> break od;
    run crash_of_all()
  }
}
