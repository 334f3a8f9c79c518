/* What a chunk is: its entry, through the jobs of a pool (docs/design.md, Heap). One worker, one chunk; the pool is killed
 * and loses power. What a process that died had stored is visible and not durable: who first acts on it in a run persists it.
 *
 * A chunk holds a block of the heap, frames of a strand, or a job's region. `owner` is the truth: which job the block
 * belongs to. It counts if that job is kept or running; so do the block's bits.
 *
 *   -DCRASHES=2    of the process or the machine      -DJOBS=3     -DCOMMITS=4   -DWITHOUT=<RULE>  leaves out a rule
 */
#ifndef CRASHES
#define CRASHES 2
#endif
#ifndef JOBS
#define JOBS 3
#endif
#ifndef COMMITS
#define COMMITS 4
#endif
#define NO_TAKE_PERSIST 1         /* also where the entry says none already */
#define NO_ADOPT_PERSIST 2        /* also where the entry has the job's serial already */
#define NO_RESOLVE_PERSIST 3      /* also where no block is young any more */
#define NO_FREE_BEFORE_YOUNG 4    /* resolve: free bits are durable before young ones change */
#define NO_YOUNG_BEFORE_SERIAL 5  /* no young bit, durably, before the entry's serial changes */
#define NO_BEGIN_PERSIST 6        /* a region's chunks: also where the entry says none already */
#define NO_BITS_BEFORE_ENTRY 7    /* the bits are zero, durably, before the entry says that there are any */
#define NO_LOOK 8                 /* a chunk with a block in use is passed over */
#define NO_BITS_BEFORE_END 9      /* H2: the job's bits are durable before it is over */
#ifndef WITHOUT
#define WITHOUT 0
#endif
byte without = WITHOUT;
#define KEPT(rule) (without != rule)

/* The entry's line; the bits' line, in the chunk's memory: frames and regions overwrite it (GARBAGE). */
#define BLOCKS 1
#define SERIAL(e) ((e) >> 1 & 7)
#define CLAIM(e) ((e) >> 4)
#define ENTRY(kind, serial, claim) ((kind) | (serial) << 1 | (claim) << 4)
#define ALLOC 1
#define FREE 2
#define YOUNG 4
#define GARBAGE (1 + 8)
byte entry, durable_entry, bits, durable_bits;

/* The restart record: the job; the list: alloc or free := 0 or 1, and its claim; whether frames in the chunk are reached. */
#define NOTHING 0
#define ALLOC_IS(v) (1 + (v))
#define FREE_IS(v) (3 + (v))
byte record_serial, list, list_claim;
bit frames;

byte serial;                      /* of the job that runs, or is to begin; durable in its own way (job catalog) */
bit running;                      /* that it does */
bit region;                       /* it has a region, where the chunk is */
byte kept;                        /* bit a serial */
byte owner;                       /* the truth: serial + 1, or 0 */

mtype:step = { out, beginning, work, taken, zeroed, described, freeing, clearing, adopting, adopted_entry, apply, over, ends, recover };
mtype:step pc = out;
bit adopted, seen, in_chunk, unfenced; /* ephemeral: the superblock is this run's; somebody acted on the entry; frames are there */
byte crashes, commits;

inline store_entry(x) { if :: entry != durable_entry && entry != (x) -> durable_entry = entry :: true fi; entry = x }
inline store_bits(x) { if :: bits != durable_bits && bits != (x) -> durable_bits = bits :: true fi; bits = x }
inline apply_list() {
  if
  :: list == NOTHING || list_claim != CLAIM(entry) || !(entry & BLOCKS)
  :: else ->
     if
     :: list == ALLOC_IS(0) -> store_bits(bits & ~ALLOC | YOUNG)
     :: list == ALLOC_IS(1) -> store_bits(bits | ALLOC | YOUNG)
     :: list == FREE_IS(0) -> store_bits(bits & ~FREE)
     :: list == FREE_IS(1) -> store_bits(bits | FREE)
     fi
  fi
}

/* space.cpp:counts, look_at */
#define COUNTS(s) (running && (s) == serial || (kept & (1 << (s))))
#define LOOK ((entry & BLOCKS) && ((bits & ALLOC) != 0) != ((bits & FREE) != 0) && !((bits & YOUNG) && !COUNTS(SERIAL(entry))))
#define TRUTH (owner != 0 && COUNTS(owner - 1))

active proctype pool() {
end:
  do
  /* -- heap.cpp:begin_job: a region's chunks say none, durably, and have nothing in them that is kept */
  :: atomic { pc == out && !running && serial < JOBS ->
       adopted = 0; seen = 0; in_chunk = 0; region = 0;
       if :: true :: !LOOK -> region = 1 fi;
       if :: region && (entry & BLOCKS) -> store_entry(ENTRY(0, 0, CLAIM(entry) + 1)); unfenced = 1 :: else fi;
       if :: region && KEPT(NO_BEGIN_PERSIST) -> unfenced = 1 :: else fi;
       pc = beginning }
  :: atomic { pc == beginning ->
       if :: unfenced -> durable_entry = entry :: else fi; unfenced = 0;
       running = 1; record_serial = 0;
       pc = work }
  /* the region is the job's own */
  :: atomic { pc == work && region && bits != GARBAGE -> store_bits(GARBAGE) }

  /* -- space.cpp:is_free, take: for frames, or for blocks */
  :: atomic { pc == work && !region && !adopted && !in_chunk && (!LOOK || !KEPT(NO_LOOK)) ->
       if
       :: entry & BLOCKS -> assert(CLAIM(entry) < 15); store_entry(ENTRY(0, 0, CLAIM(entry) + 1)); unfenced = 1
       :: else -> if :: KEPT(NO_TAKE_PERSIST) && !seen -> unfenced = 1 :: else fi
       fi;
       seen = 1;
       pc = taken }
  :: atomic { pc == taken ->
       if :: unfenced -> durable_entry = entry :: else fi; unfenced = 0;
       if
       :: true -> in_chunk = 1; store_bits(GARBAGE); pc = work
       :: true -> store_bits(0); store_entry(ENTRY(0, serial, CLAIM(entry))); pc = zeroed /* heap.cpp:more */
       fi }
  :: atomic { pc == zeroed ->
       if :: KEPT(NO_BITS_BEFORE_ENTRY) -> durable_bits = bits :: else fi;
       durable_entry = entry;
       store_entry(entry | BLOCKS);
       pc = described }
  :: atomic { pc == described -> durable_entry = entry; adopted = 1; pc = work }

  /* -- heap.cpp:adopt, resolve */
  :: atomic { pc == work && !region && !adopted && !in_chunk && LOOK ->
       if
       :: SERIAL(entry) == serial -> pc = adopted_entry; if :: KEPT(NO_ADOPT_PERSIST) -> unfenced = 1 :: else fi
       :: SERIAL(entry) != serial && !(bits & YOUNG) && !KEPT(NO_RESOLVE_PERSIST) -> pc = adopting
       :: else ->
          if
          :: COUNTS(SERIAL(entry)) -> pc = clearing
          :: else -> if :: bits & YOUNG -> store_bits(bits & ~FREE | (bits & ALLOC) * FREE) :: else fi; pc = freeing
          fi
       fi;
       seen = 1 }
  :: atomic { pc == freeing -> if :: KEPT(NO_FREE_BEFORE_YOUNG) -> durable_bits = bits :: else fi; pc = clearing }
  :: atomic { pc == clearing -> store_bits(bits & ~YOUNG); pc = adopting; if :: KEPT(NO_YOUNG_BEFORE_SERIAL) -> unfenced = 1 :: else fi }
  :: atomic { pc == adopting -> if :: unfenced -> durable_bits = bits :: else fi; store_entry(ENTRY(BLOCKS, serial, CLAIM(entry))); unfenced = 1; pc = adopted_entry }
  :: atomic { pc == adopted_entry -> if :: unfenced -> durable_entry = entry :: else fi; unfenced = 0; adopted = 1; pc = work }

  /* -- a commit: F1 and the record, in one (heap.pml has them in steps); then its list is applied */
  :: atomic { pc == work && commits < COMMITS ->
       commits++;
       if :: list != NOTHING && record_serial == serial -> durable_bits = bits :: else fi;
       record_serial = serial; list = NOTHING; list_claim = 0; frames = in_chunk;
       if
       :: adopted && !TRUTH -> list = ALLOC_IS((bits & FREE) == 0); list_claim = CLAIM(entry); owner = serial + 1
       :: adopted && TRUTH -> list = FREE_IS((bits & ALLOC) != 0); list_claim = CLAIM(entry); owner = 0
       :: in_chunk -> frames = 0
       :: true
       fi;
       pc = apply }
  :: atomic { pc == apply -> apply_list(); if :: !frames && in_chunk -> in_chunk = 0 :: else fi; pc = work }

  /* -- job.cpp:make_heap_durable; heap.cpp:finish_job; the job's entry says that it is over */
  :: atomic { pc == work && running && record_serial == serial ->
       if :: KEPT(NO_BITS_BEFORE_END) && list != NOTHING -> durable_bits = bits :: else fi;
       frames = 0; list = NOTHING; record_serial = 0;
       if :: kept = kept | 1 << serial :: true fi;
       running = 0; adopted = 0; in_chunk = 0; region = 0;
       serial++;
       assert(serial > JOBS || LOOK == TRUTH);
       pc = out }

  /* -- a crash, and recover.cpp; a new run begins */
  :: atomic { crashes < CRASHES ->
       crashes++;
       if
       :: true ->
          if :: entry != durable_entry -> entry = durable_entry :: durable_entry = entry fi;
          if :: bits != durable_bits -> bits = durable_bits :: durable_bits = bits fi
       :: true
       fi;
       adopted = 0; seen = 0; in_chunk = 0; unfenced = 0;
       pc = recover }
  :: atomic { pc == recover ->
       if
       :: !running -> region = 0
       :: else ->
          assert(!(frames && (entry & BLOCKS))); /* frames of a strand stand where the heap is */
          assert(!(region && (entry & BLOCKS))); /* or a region */
          apply_list();
          if :: list != NOTHING && list_claim == CLAIM(entry) -> durable_bits = bits :: else fi;
          list = NOTHING;
          in_chunk = frames
       fi;
       assert(LOOK == TRUTH);
       pc = (running -> work : out) }
  od
}

init {
  atomic {
#ifdef CHOOSE
    c_code { const char* rule = getenv("WITHOUT"); if (rule) now.without = atoi(rule); };
#endif
    skip
  }
}
