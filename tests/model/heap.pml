/* The heap's redo lists (docs/design.md, Heap): two workers, whose strands allocate and free; one line of bits. Workers
 * die alone, at any step, and the other one robs the grave.
 *
 * A capsule only notes what it allocates and frees. The commit that ends it writes the list, whose record names it; the
 * list is applied when the record is durable, and again by recovery, by a worker after a soft fault, and by a robber.
 * Two bits a block: allocated iff alloc != free. `version` counts what was committed to each block: odd means allocated.
 * So the bits can be compared with the truth.
 *
 *   -DB=1          blocks: in worker 0's arena         -DCRASHES=2   crashes of all       -DSOFT=1  soft faults
 *   -DEXTENT=1     the block is a chunk (B=1), that anyone may take; its entry, a line, has the bits
 *   -DCOMMITS=5    commits of both together            -DHARD=0  hard faults
 *   -DWITHOUT=<RULE>  leaves out a rule. With -DCHOOSE pan takes it, and the numbers of faults, from its environment
 */
#ifndef EXTENT
#define EXTENT 0
#endif
#ifndef B
#define B 1
#endif
#ifndef CRASHES
#define CRASHES 2
#endif
#ifndef SOFT
#define SOFT 1
#endif
#ifndef HARD
#define HARD 0
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
#define NO_APPLY_AFTER_FAULT 10   /* H7: a fault finds the record written */
#define NO_FAULT_REPLAY 11        /* H2: or the bits flushed and not fenced */
#define NO_ROB_PERSIST 12         /* H7: the dead one's record is durable before its list is applied */
#define NO_ROB_REPLAY 13          /* H7 */
#define NO_ROB_FENCE 14           /* H2: the copy does not name the list */
#define NO_ROB_NEXT 15            /* H2: ROB is a record, too */
#define NO_ABANDON 16             /* a worker that is lost gives nothing back */
#define NO_CLAIM 17               /* H5 */
#ifndef WITHOUT
#define WITHOUT 0
#endif
byte without = WITHOUT;
byte max_crashes = CRASHES, max_soft = SOFT, max_hard = HARD;
#define KEPT(rule) (without != rule)

/* The line: bits; of a chunk also what its entry says: extent (or none), and the claim. Visible and durable. */
#define ALLOC(b) BIT(b)
#define FREE(b) BIT(B + (b))
#define IS_EXTENT BIT(2 * B)
#define CLAIM(x) ((x) >> (2 * B + 1))
#define CLAIM_IS(c) ((c) << (2 * B + 1))
#define IS_ALLOCATED(b) ((KEPT(ONE_BIT) && ((bits & ALLOC(b)) != 0) != ((bits & FREE(b)) != 0) || !KEPT(ONE_BIT) && (bits & ALLOC(b)) != 0) && \
                         (!EXTENT || (bits & IS_EXTENT)))
byte bits, durable_bits;

/* Records: for each block 3 bits of list (nothing, alloc := 0 or 1, free := 0 or 1) and 4 of version (to compare with);
 * whether it robs the other one; the list's claim. */
#define NOTHING 0
#define ALLOC_IS(v) (1 + (v))
#define FREE_IS(v) (3 + (v))
#define ENTRY(r, b) ((r) >> 7 * (b) & 7)
#define VERSION(r, b) ((r) >> (7 * (b) + 3) & 15)
#define HAPPENED(r, b) (ENTRY(r, b) != NOTHING && VERSION(r, b) >= version[b])
#define ENTRIES (7 + (B > 1) * 7 * 128)
#define EMPTIED(r) ((r) & ~ENTRIES)
#define ROB BIT(14)
#define LIST_CLAIM(r) ((r) >> 15)
int record[W], durable_record[W];
bit robbed[W], durable_robbed[W]; /* the owner words: by the other one */
byte version[B];
#define OTHER(w) (1 - (w))
#define ROBS(w) ((record[w] & ROB) && robbed[OTHER(w)])

mtype:step = { off, dead, working, taken_chunk, described, written, apply, rob_cam, rob_read, rob_list, rob_copy, recover, retire };
mtype:step pc[W], all = working;
/* A block: in the arena's free mask, or a free chunk; noted as allocated by a capsule; allocated; noted as freed; freed, and
 * waiting for the freer's next record; to be had again only after a recovery. With whose it is. */
mtype:state = { is_free, taken, used, freed, leaving, lost };
mtype:state state[B];
byte by[B];
byte left[W];                     /* blocks of the record before, to be given back */
byte applied;                     /* by whom there are bits that no fence has covered yet */
byte commits, crashes, softs, hards;

inline store_bits(x) { if :: bits != durable_bits && bits != (x) -> durable_bits = bits :: true fi; bits = x }

/* One entry of a list; v is absolute. arena.cpp:apply, heap.cpp:replay */
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
/* heap.cpp:replay: entries of another claim are passed over. Flushed, not fenced: k says whether. */
inline replay(r) {
  i = 0; k = 0;
  do
  :: i < B ->
     if
     :: ENTRY(r, i) != NOTHING && (!EXTENT || !KEPT(NO_CLAIM) || LIST_CLAIM(r) == CLAIM(bits)) -> apply_entry(ENTRY(r, i), i); k = 1
     :: else
     fi; i++
  :: else -> break
  od; i = 0
}
inline fence_bits() { if :: k -> durable_bits = bits :: else fi; k = 0 }

inline count_versions(r) {
  i = 0;
  do
  :: i < B -> if :: VERSION(r, i) > version[i] -> version[i] = VERSION(r, i) :: else fi; i++
  :: else -> break
  od; i = 0
}

/* arena.cpp:apply, the end: what the record before had freed can be used again. */
inline give_back_left() {
  i = 0;
  do
  :: i < B ->
     if
     :: state[i] == leaving && by[i] == me && !(left[me] & BIT(i)) -> state[i] = is_free; by[i] = 0
     :: else
     fi; i++
  :: else -> break
  od; i = 0; left[me] = 0
}

/* arena.cpp:forget */
inline forget_notes() {
  i = 0;
  do
  :: i < B ->
     if
     :: by[i] == me && state[i] == taken -> state[i] = is_free; by[i] = 0
     :: by[i] == me && state[i] == freed -> state[i] = used; by[i] = 0
     :: else
     fi; i++
  :: else -> break
  od; i = 0
}

#if B == 1
#define NOTED(w) (by[0] == (w) && (state[0] == taken || state[0] == freed))
#else
#define NOTED(w) (by[0] == (w) && (state[0] == taken || state[0] == freed) || by[1] == (w) && (state[1] == taken || state[1] == freed))
#endif

proctype worker(byte me) {
  byte i, k;
  int r;
end:
  do
  /* -- the capsule: cx.alloc, cx.free */
  :: atomic { !EXTENT && pc[me] == working && (me == 0 || !KEPT(NO_ONE_ARENA)) ->
       i = 0;
       do :: i < B && state[i] != is_free -> i++ :: else -> break od;
       if
       :: i < B ->
          assert(version[i] % 2 == 0); /* never allocated twice */
          state[i] = taken; by[i] = me;
          if :: KEPT(NO_LOG) :: else -> k = ALLOC_IS((bits & FREE(i)) == 0); apply_entry(k, i) fi
       :: else
       fi; i = 0; k = 0 }
  /* space.cpp:take, heap.cpp:new_extent: the entry says none, durably; its bits are zero, durably; it says extent, durably.
   * All under a lock, without a persistent access: no fault of this worker comes between. */
  :: atomic { EXTENT && pc[me] == working && state[0] == is_free ->
       assert(version[0] % 2 == 0);
       assert(CLAIM(bits) < 31);
       state[0] = taken; by[0] = me;
       if :: bits & IS_EXTENT -> store_bits(CLAIM_IS(CLAIM(bits) + 1)) :: else fi;
       pc[me] = taken_chunk }
  :: atomic { pc[me] == taken_chunk -> durable_bits = bits; store_bits(bits & CLAIM_IS(31)); pc[me] = described }
  :: atomic { pc[me] == described -> durable_bits = bits; store_bits(bits | IS_EXTENT); durable_bits = bits; pc[me] = working }

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
          if :: k != NOTHING -> r = r | (version[i] + 1) << (7 * i + 3) | CLAIM(bits) * EXTENT << 15 :: else fi;
          i++
       :: else -> break
       od;
       record[me] = r; r = 0; i = 0; k = 0;
       pc[me] = written }
  /* F2 */
  :: atomic { pc[me] == written ->
       durable_record[me] = record[me];
       count_versions(record[me]);
       pc[me] = apply }
  /* -- arena.cpp:apply: the bits; what the record before had freed can be used again */
  :: atomic { pc[me] == apply ->
       i = 0;
       do
       :: i < B && !(by[i] == me && (state[i] == taken || state[i] == freed)) -> i++
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
          give_back_left();
          pc[me] = (record[me] & ROB -> rob_cam : working)
       fi; i = 0; k = 0 }

  /* -- a soft fault. worker.cpp:find_work: the record is persisted; recover_heap: if the capsule's notes belong to the
   * record before, they are lost (arena.cpp:forget); if to this one, they are applied; the list once more, and a fence */
  :: atomic { softs < max_soft && (pc[me] == working || pc[me] == written || pc[me] == rob_cam || pc[me] == rob_read || pc[me] == rob_list || pc[me] == rob_copy) ->
       softs++;
       applied = applied & ~BIT(me); /* a later fence does not cover it */
       durable_record[me] = record[me];
       count_versions(record[me]);
       if
       :: pc[me] == written && KEPT(NO_APPLY_AFTER_FAULT) ->
          /* what `apply` does, in one: nobody else looks at these bits before they are there */
          i = 0;
          do
          :: i < B ->
             if
             :: by[i] == me && state[i] == taken -> state[i] = used; by[i] = 0
             :: by[i] == me && state[i] == freed -> state[i] = leaving; left[me] = left[me] | BIT(i)
             :: else
             fi; i++
          :: else -> break
          od;
          give_back_left()
       :: else -> if :: record[me] & ROB :: else -> forget_notes() fi
       fi;
       if
       :: KEPT(NO_FAULT_REPLAY) && (pc[me] != written || KEPT(NO_APPLY_AFTER_FAULT)) -> replay(record[me]); fence_bits()
       :: pc[me] == written && !KEPT(NO_FAULT_REPLAY) -> replay(record[me]); k = 0
       :: else
       fi;
       pc[me] = (record[me] & ROB -> rob_read : working) }

  /* -- a hard fault. worker.cpp:live, arena.cpp:abandon: what the capsule noted stays with it */
  :: atomic { hards < max_hard && pc[me] != off && pc[me] != dead && pc[me] != taken_chunk && pc[me] != described ->
       hards++;
       applied = applied & ~BIT(me); left[me] = 0;
       i = 0;
       do
       :: i < B -> if :: by[i] == me && state[i] == taken && !KEPT(NO_ABANDON) -> state[i] = is_free; by[i] = 0 :: else fi; i++
       :: else -> break
       od; i = 0;
       pc[me] = dead }

  /* -- adopt.cpp:rob_a_grave: one that has no strand. Its record is the next after its last one (H2) */
  :: atomic { pc[me] == working && pc[OTHER(me)] == dead && !robbed[OTHER(me)] && !NOTED(me) ->
       if :: KEPT(NO_ROB_NEXT) && (applied & BIT(me)) -> durable_bits = bits :: else fi;
       applied = applied & ~BIT(me);
       record[me] = ROB;
       pc[me] = written }
  :: atomic { pc[me] == rob_cam ->
       if :: !robbed[OTHER(me)] -> robbed[OTHER(me)] = 1 :: else fi;
       pc[me] = rob_read }
  /* -- adopt.cpp:finish_rob */
  :: atomic { pc[me] == rob_read ->
       durable_robbed[OTHER(me)] = robbed[OTHER(me)];
       pc[me] = (robbed[OTHER(me)] -> rob_list : working) }
  :: atomic { pc[me] == rob_list ->
       r = record[OTHER(me)];
       if
       :: r & ENTRIES ->
          if :: KEPT(NO_ROB_PERSIST) -> durable_record[OTHER(me)] = r; count_versions(r) :: else fi;
          if :: KEPT(NO_ROB_REPLAY) -> replay(r) :: else fi
       :: else
       fi; r = 0; i = 0;
       pc[me] = rob_copy;
       if :: KEPT(NO_ROB_FENCE) :: else -> k = 0 fi }
  :: atomic { pc[me] == rob_copy ->
       fence_bits();
       r = record[OTHER(me)];
       i = 0;
       do /* what the dead one had noted: by its record it has happened, or it is to be repeated */
       :: i < B ->
          if
          :: by[i] == OTHER(me) && state[i] == taken -> state[i] = (HAPPENED(r, i) && VERSION(r, i) % 2 -> used : lost)
          :: by[i] == OTHER(me) && state[i] == freed -> state[i] = (HAPPENED(r, i) && VERSION(r, i) % 2 == 0 -> lost : used)
          :: by[i] == OTHER(me) && state[i] == leaving -> state[i] = lost
          :: else
          fi;
          if :: by[i] == OTHER(me) -> by[i] = 0 :: else fi; i++
       :: else -> break
       od;
       record[me] = EMPTIED(r) & ~ROB; /* a ROB of the dead one's would be of this worker, which lives: it was lost */
       i = 0; r = 0;
       pc[OTHER(me)] = off;
       pc[me] = written }
  od
}

proctype crash_of_all() {
  byte w, i, k;
  bit touched;
end:
  do
  :: atomic { crashes < max_crashes || (pc[0] == dead || pc[0] == off) && (pc[1] == dead || pc[1] == off) && all == working ->
       if
       :: crashes < max_crashes ->
          crashes++;
          if
          :: true -> /* the machine */
             if :: bits = durable_bits :: durable_bits = bits fi;
             w = 0;
             do
             :: w < W && robbed[w] != durable_robbed[w] -> if :: robbed[w] = durable_robbed[w] :: durable_robbed[w] = robbed[w] fi
             :: w < W && robbed[w] == durable_robbed[w] && record[w] != durable_record[w] ->
                if
                :: record[w] = durable_record[w]
                :: KEPT(NO_LIST_BEFORE_RECORD) -> durable_record[w] = record[w]
                :: !KEPT(NO_LIST_BEFORE_RECORD) -> record[w] = EMPTIED(record[w]); durable_record[w] = record[w]
                fi
             :: w < W && robbed[w] == durable_robbed[w] && record[w] == durable_record[w] -> w++
             :: else -> break
             od
          :: true /* the process */
          fi
       :: else /* workers_lost: the job is run again */
       fi;
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
       w = 0; i = 0;
       all = recover }
  /* -- recover.cpp: the records are persisted; the lists of those that count are applied again; a fence */
  :: atomic { all == recover ->
       w = 0; touched = 0;
       do
       :: w < W ->
          durable_record[w] = record[w];
          durable_robbed[w] = robbed[w];
          if
          :: !robbed[w] || ROBS(OTHER(w)) ->
             count_versions(record[w]);
             if :: KEPT(NO_REPLAY) -> replay(record[w]); touched = touched | k :: else fi
          :: else
          fi; w++
       :: else -> break
       od;
       if :: KEPT(NO_REPLAY_FENCE) && touched -> durable_bits = bits :: else fi;
       w = 0; i = 0; k = 0; touched = 0;
       all = retire }
  /* -- they are emptied, durably, one after the other; then the blocks can be had */
  :: atomic { all == retire && w < W ->
       if :: KEPT(NO_RETIRED_LIST) && (!robbed[w] || ROBS(OTHER(w))) -> record[w] = EMPTIED(record[w]); durable_record[w] = record[w] :: else fi;
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
       do
       :: w < W ->
          /* choose_slots: not one that is being robbed. enter_slot: a new life, IDLE, begins in one that was robbed */
          if
          :: robbed[w] && ROBS(OTHER(w)) -> pc[w] = off
          :: robbed[w] && !ROBS(OTHER(w)) -> record[w] = 0; durable_record[w] = 0; robbed[w] = 0; durable_robbed[w] = 0; pc[w] = working
          :: !robbed[w] && (record[w] & ROB) -> pc[w] = rob_read
          :: else -> pc[w] = working
          fi; w++
       :: else -> break
       od;
       w = 0; i = 0;
       all = working }
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
    byte w;
    w = 0;
    do :: w < B -> state[w] = is_free; w++ :: else -> break od;
    w = 0;
    do :: w < W -> pc[w] = working; run worker(w); w++ :: else -> break od;
    run crash_of_all()
  }
}
