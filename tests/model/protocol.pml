/* The protocol of sched/, as the code has it: commit, expose, take back, steal, join, adopt, rob, recover.
 *
 * README.md beside this file maps each step to its function and says what is abstracted and why that is sound.
 *
 *   -DW=2          worker slots                        -DF=2        frames: F0; F1 on its left; F2:
 *   -DUNDER=2      F2 is on the right of F0; 3: on the left of F1; 4: on the right of F1
 *   -DNS0=1        exposure slots of worker 0          -DNS=1       of each other one
 *   -DFEWER=1      after a crash one worker or all of them come back
 *   -DCRASHES=1    crashes of all: the process (what is visible stays) or the machine (only what is durable stays)
 *   -DHARD=0       workers that die alone              -DSOFT=0     workers that lose their ephemeral state
 *   -DTURNS=0      commits inside of leaves (context::turn)
 *   -DWITHOUT=NO_<RULE>   leaves out a rule: there must be a counterexample. With -DCHOOSE pan takes the rule's number, and
 *                  CRASHES, HARD, SOFT, TURNS and FEWER, from its environment: one pan serves for many runs.
 *
 * The job:  T0 forks F0 (A, B) then K0;  A forks F1 (C, D) then K1;  with F=3 B, C or D forks F2 (E, G) then K2.
 */
#ifndef UNDER
#define UNDER 2
#endif
#ifndef W
#define W 2
#endif
#ifndef F
#define F 2
#endif
#ifndef NS
#define NS 1
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef SOFT
#define SOFT 0
#endif
#ifndef HARD
#define HARD 0
#endif
#ifndef FEWER
#define FEWER 0
#endif
#ifndef TURNS
#define TURNS 0
#endif
#ifndef NS0
#define NS0 NS
#endif
#define S (NS0 + (W - 1) * NS)
#define FROM_SLOT(w) (((w) > 0) * (NS0 + ((w) - 1) * NS))
#define TO_SLOT(w) (NS0 + (w) * NS)
#define BIT(i) (1 << (i))


/* ---- the rules that can be left out ------------------------------------------------------------------------------ */

#define NO_RIGHT_TAG 1
#define NO_JOIN_TAG 2
#define NO_GENERATION_FIRST 3
#define NO_LINK_FLUSHED 4
#define NO_AVAILABLE_LAST 5
#define NO_RECORD_BEFORE_AVAILABLE 6
#define NO_LIVE_GENERATION 7
#define NO_LIVE_RIGHT 8
#define NO_LIVE_FRAME 9
#define NO_SLOT_KEPT 10
#define NO_STEAL_REACHED 11
#define NO_TOUCHED_INLINED 12
#define NO_STOLEN_FLUSHED 13
#define NO_RECORD_FENCE 14
#define NO_CAM_PERSIST_STEAL 15
#define NO_CAM_PERSIST_FIRST 16
#define NO_CAM_PERSIST_CLAIM 17
#define NO_CAM_PERSIST_ROB 18
#define NO_STEAL_ONLY_READ 19
#define NO_ROB_ONLY_READ 20
#define NO_NEXT_LIFE 21
#define NO_SIDE_IN_JOIN 22
#define NO_LEFT_ONLY 23
#define NO_EDGE_STOP 24
#define NO_ROBBED_SHUT 25
#define NO_RECOVERY_PERSIST 26
#define NO_OWN_PERSIST 27
#define NO_DEAD_ONLY 28
#define NO_COPY_IDENTITY 29
#define NO_ENTER_CHECK 30
#define NO_IDLE_FIRST 31
#define NO_FIRST_FENCE 32
#define NO_POP_RULE 33
#define NO_LINK_CLEARED 34
#define NO_START_RESTORED 35 /* who dies before the root's record is there hands the start on */
#define NO_RESUMED_PERSIST 36 /* 26 and 27 at once */
#define NO_RESULT_FLUSHED 37
/* Two at once, of which either suffices (README.md) */
#define NO_TOUCHED_NOR_ONLY_READ 38  /* 12 and 19 */
#define NO_LIVE_GENERATION_NOR_RIGHT 39 /* 7 and 8 */
#define NO_GENERATION_FIRST_NOR_FRAME 40 /* 3 and 9 */
#define NO_GRAVE_KEPT 41 /* a grave leaves the list when its owner word says robbed, not before */
#define NO_DONE_LAST 42 /* who has DONE writes no record after it */
#ifndef WITHOUT
#define WITHOUT 0
#endif
byte without = WITHOUT;
byte max_crashes = CRASHES, max_soft = SOFT, max_hard = HARD, max_turns = TURNS;
bit fewer = FEWER;
#define GENERATION_FIRST (without != NO_GENERATION_FIRST && without != NO_GENERATION_FIRST_NOR_FRAME)
#define KEPT(rule) (without != rule)

/* ---- durable words. Each line has a visible value (v...) and a durable one (d...) -------------------------------- */

/* Places: 0 is the job's result, else a frame and a side. */
#define L 0
#define R 1
#define PLACE(f, s) (1 + 2 * (f) + (s))
#define FRAME_OF(p) (((p) - 1) / 2)
#define SIDE_OF(p) (((p) - 1) % 2)
#define NOFRAME 7
#define PARENT(f) ((f) + ((f) == 2) * (UNDER - 2))
#define FORKS(p) (((p) <= 1 && (p) < F) * (p) + (F == 3 && (p) == UNDER) * 2 + \
                  (((p) > 1 || (p) >= F) && (F < 3 || (p) != UNDER)) * NOFRAME)

/* A frame's line: whole 1, committed 1, results 2, link {generation 3, slot 3}. */
#define WHOLE 1
#define COMMITTED 2
#define RESULT(s) (4 << (s))
#define LINK(s, g) ((g) << 4 | (s) << 7)
#define LINK_G(x) ((x) >> 4 & 7)
#define LINK_S(x) ((x) >> 7 & 7)
#define UNLINKED(x) ((x) & 15)
short vf[F], df[F];

/* An exposure slot's line: generation 3, right {generation 3, state 2, thief 4}, join {generation 3, state 3}, frame 2. */
#define NONE 0
#define AVAILABLE 1
#define INLINED 2
#define STOLEN 3
#define FIRST(s) (1 + (s))
#define CLAIMED(s) (3 + (s))
#define GEN(x) ((x) & 7)
#define RIGHT_WORD(x) ((x) >> 3 & 511)
#define RIGHT_IS(g, st, id) ((g) | (st) << 3 | (id) << 5)
#define RIGHT_G(x) ((x) >> 3 & 7)
#define RIGHT_ST(x) ((x) >> 6 & 3)
#define JOIN_WORD(x) ((x) >> 12 & 63)
#define JOIN_IS(g, st) ((g) | (st) << 3)
#define SLOT_F(x) ((x) >> 18 & 3)
#define SET_GEN(x, g) ((x) & ~7 | (g))
#define SET_RIGHT(x, w) ((x) & ~(511 << 3) | (w) << 3)
#define SET_JOIN(x, w) ((x) & ~(63 << 12) | (w) << 12)
#define SET_FRAME(x, f) ((x) & ~(3 << 18) | (f) << 18)
int vs[S], ds[S];

/* What a slot's words say of an exposure. */
#define RIGHT_SAYS(s, g, st, id) (RIGHT_WORD(vs[s]) == RIGHT_IS(g, st, id) || \
                                  !KEPT(NO_RIGHT_TAG) && RIGHT_WORD(vs[s]) >> 3 == RIGHT_IS(0, st, id) >> 3)
#define RIGHT_TAGGED(s, g) (RIGHT_G(vs[s]) == (g) || !KEPT(NO_RIGHT_TAG))
#define JOIN_SAYS(s, g, st) (JOIN_WORD(vs[s]) == JOIN_IS(g, st) || !KEPT(NO_JOIN_TAG) && JOIN_WORD(vs[s]) >> 3 == (st))
#define ARRIVING(w, side) (KEPT(NO_SIDE_IN_JOIN) -> (side) : (w))

/* adopt.cpp:is_live, is_stolen_edge */
#define LINKED(f) (LINK_G(vf[f]) != 0 && \
                   (GEN(vs[LINK_S(vf[f])]) == LINK_G(vf[f]) || !KEPT(NO_LIVE_GENERATION) || !KEPT(NO_LIVE_GENERATION_NOR_RIGHT)) && \
                   (RIGHT_TAGGED(LINK_S(vf[f]), LINK_G(vf[f])) || !KEPT(NO_LIVE_RIGHT) || !KEPT(NO_LIVE_GENERATION_NOR_RIGHT)) && \
                   (SLOT_F(vs[LINK_S(vf[f])]) == (f) || !KEPT(NO_LIVE_FRAME) || !KEPT(NO_GENERATION_FIRST_NOR_FRAME)))
#define STOLEN_EDGE(p) ((p) != 0 && SIDE_OF(p) == R && LINKED(FRAME_OF(p)) && RIGHT_ST(vs[LINK_S(vf[FRAME_OF(p)])]) == STOLEN)
#define MAY_BE_OFFERED(p) (SIDE_OF(p) == L || !KEPT(NO_LEFT_ONLY))

/* A worker slot's restart record. The two buffers are one cell: what is durable, and what is newer and only visible.
 * kind 3, a 4 (place, frame, exposure slot, worker slot), g 3 (generation, life), x 4 (identity, side), units 8. */
#define IDLE 0
#define RUN 1
#define RIGHT 2
#define CONT 3
#define STEAL 4
#define ARRIVE 5
#define ROB 6
#define DONE 7
#define KIND(r) ((r) & 7)
#define A(r) ((r) >> 3 & 15)
#define G(r) ((r) >> 7 & 7)
#define X(r) ((r) >> 10 & 15)
#define UNITS(r) ((r) >> 14 & 255)
#define RECORD(k, a, g, x, u) ((k) | (a) << 3 | (g) << 7 | (x) << 10 | (u) << 14)
int vr[W], dr[W];

/* The owner word: life 4, robber's identity + 1, 5. */
#define ID(slot, life) ((slot) + W * (life))
#define LIFE(o) ((o) & 15)
#define ROBBER(o) ((o) >> 4)
#define OWNED_BY(life, robber) ((life) | (robber) << 4)
#define NEXT_LIFE(o) (LIFE(o) + KEPT(NO_NEXT_LIFE))
#define ROBS(r) (KIND(r) == ROB && vo[A(r)] == OWNED_BY(G(r), X(r) + 1))
short vo[W], d_o[W];

/* Units of work (context::advance): each leaf and each continuation is one. */
#define LEAF_UNIT(p) BIT((p) - 2 + 3 * ((p) == 1)) /* places 1 and 2 if F = 1, else 2 and more */
#define CONT_UNIT(f) BIT(5 + (f))
#if F == 1
#define ALL_UNITS (4 + 1 + 32)
#elif F == 2
#define ALL_UNITS (1 + 2 + 4 + 32 + 64)
#else
#define ALL_UNITS (31 - LEAF_UNIT(UNDER) + 32 + 64 + 128)
#endif

/* ---- ephemeral: of each worker, and of the team ------------------------------------------------------------------ */

mtype:step = { off, dead, enter, enter_idle, own, idle, start, go, take_back, begin, expose_rest, expose_link, record, publish,
               arrive_flush, arrive_look, arrive_cam, arrive_read, arrive_claimed, steal_cam, steal_read, rob_cam, rob_read, robbed,
               finish, finished, stopped };
mtype:step pc[W];
byte kind[W];                           /* position: about to run (RUN, place), (RIGHT, frame), (CONT, frame) */
byte at[W];
byte cand[W], touched_f[W], popped[W];  /* frames */
byte fresh[W], touched_s[W], joined[W]; /* exposure slots */
byte ex[W], eg[W], who[W];              /* exposure, or worker slot and life; side, or identity, or frame */
byte self[W], units[W];
bit written[W];                         /* the newest record is not persisted yet */
byte shelf, hints;                      /* exposure slots: free; hinted at */
byte parked[S];                         /* candidates + 1 */
byte graves;
byte starter;                           /* team::root_starter: of the root */
#define NOBODY 0
#define ANYONE 1
#define STARTER(w) (2 + (w))
bit said;                               /* run_books::finished: the job is over, says who has left DONE */
bit over;                               /* so does its entry in the catalog */
byte crashes, softs, hards, turns;

#define HAS_STRAND(w) (pc[w] == go || pc[w] == take_back || pc[w] == begin || pc[w] == expose_rest || pc[w] == expose_link || \
                       pc[w] == record || pc[w] == publish || pc[w] == arrive_flush || pc[w] == finish)
#define MAY_FAULT(w) (pc[w] != off && pc[w] != dead && pc[w] != stopped && pc[w] != idle && pc[w] != enter && pc[w] != own)

/* ---- the medium -------------------------------------------------------------------------------------------------- */

/* A line that was stored to since it was last durable may have been written back before this store. Once no crash of
 * all is to come nobody asks what is durable: then both values are kept the same, which saves states. */
#define LAST (crashes == max_crashes)
inline store_f(f, x) {
  if :: vf[f] != df[f] && vf[f] != (x) -> df[f] = vf[f] :: true fi;
  vf[f] = x;
  if :: LAST -> df[f] = vf[f] :: else fi
}
inline store_s(s, x) {
  if :: vs[s] != ds[s] && vs[s] != (x) -> ds[s] = vs[s] :: true fi;
  vs[s] = x;
  if :: LAST -> ds[s] = vs[s] :: else fi
}
inline store_o(w, x) {
  if :: vo[w] != d_o[w] && vo[w] != (x) -> d_o[w] = vo[w] :: true fi;
  vo[w] = x;
  if :: LAST -> d_o[w] = vo[w] :: else fi
}

/* persist_record up to its flush. If the newest record is only visible, the other buffer is the durable one, and now
 * it is being overwritten: unless the newest was written back by chance, no whole record may be left. */
inline write_record(r) {
  if
  :: vr[me] == dr[me]
  :: vr[me] != dr[me] -> dr[me] = vr[me]
  :: vr[me] != dr[me] -> dr[me] = 0
  fi;
  vr[me] = r; written[me] = 1;
  if :: LAST -> dr[me] = vr[me] :: else fi
}

/* The rest of it, and settle. Does nothing where the record was persisted already. */
inline persist_record() {
  if
  :: written[me] ->
     if :: KEPT(NO_RECORD_FENCE) || pc[me] != go && pc[me] != publish -> dr[me] = vr[me] :: else fi;
     written[me] = 0;
     touched_f[me] = 0; touched_s[me] = 0;
     shelf = shelf | joined[me]; joined[me] = 0
  :: else
  fi
}
/* Frames that the new record no longer reaches: their memory is used for something else. */
inline reuse_memory() {
  i = 0;
  do
  :: i < F && written[me] == 0 -> if :: popped[me] & BIT(i) -> store_f(i, 0) :: else fi; i++
  :: else -> break
  od; i = 0; popped[me] = 0
}

inline flush(frames, slots) {
  i = 0;
  do
  :: i < F -> if :: (frames) & BIT(i) -> df[i] = vf[i] :: else fi; i++
  :: else -> break
  od;
  i = 0;
  do
  :: i < S -> if :: (slots) & BIT(i) -> ds[i] = vs[i] :: else fi; i++
  :: else -> break
  od; i = 0
}

/* ---- strands ----------------------------------------------------------------------------------------------------- */

/* A safe point: (k, a) is next. Commits or not. */
inline safe_point(k, a) { kind[me] = k; at[me] = a; if :: pc[me] = go :: pc[me] = begin fi }

inline become_idle() {
  kind[me] = 0; at[me] = 0; cand[me] = 0; ex[me] = 0; eg[me] = 0; who[me] = 0; touched_f[me] = 0; touched_s[me] = 0;
  pc[me] = idle
}

/* worker.cpp:forget */
inline forget() {
  shelf = shelf | fresh[me];
  fresh[me] = 0; popped[me] = 0; units[me] = 0; written[me] = 0;
  become_idle()
}

/* adopt.cpp:find_candidates */
inline find_candidates(from) {
  cand[me] = 0; p = from;
  do
  :: p == 0 || STOLEN_EDGE(p) && KEPT(NO_EDGE_STOP) -> break
  :: else ->
     if
     :: MAY_BE_OFFERED(p) ->
        cand[me] = cand[me] | BIT(FRAME_OF(p));
        if :: LINKED(FRAME_OF(p)) -> hints = hints | BIT(LINK_S(vf[FRAME_OF(p)])) :: else fi
     :: else
     fi;
     p = PARENT(FRAME_OF(p))
  od; p = 0
}

/* Exposed already, or by this very commit. */
#define PREPARED(f) (LINK_G(vf[f]) != 0 && (fresh[me] & BIT(LINK_S(vf[f]))) && SLOT_F(vs[LINK_S(vf[f])]) == (f) && \
                     (GEN(vs[LINK_S(vf[f])]) == LINK_G(vf[f]) || !GENERATION_FIRST))
#define TO_EXPOSE(f) ((cand[me] & BIT(f)) && !LINKED(f) && !PREPARED(f))

/* Another free slot of the worker's comes after this one. */
#define LATER_FREE(j) ((shelf & (BIT(TO_SLOT(me)) - BIT((j) + 1))) != 0)

proctype worker(byte me) {
  byte i, j, p, f;
  int r;
  do
  :: atomic { over -> break }

  /* -- adopt.cpp:enter_slot */
  :: atomic { pc[me] == enter ->
       self[me] = ID(me, LIFE(vo[me]));
       if
       :: ROBBER(vo[me]) == 0 || !KEPT(NO_ROBBED_SHUT) -> pc[me] = own
       :: else ->
          if
          :: KEPT(NO_IDLE_FIRST) -> write_record(RECORD(IDLE, 0, 0, 0, 0))
          :: else -> store_o(me, OWNED_BY(NEXT_LIFE(vo[me]), 0)); d_o[me] = vo[me]
          fi;
          pc[me] = enter_idle
       fi }
  :: atomic { pc[me] == enter_idle ->
       if
       :: KEPT(NO_IDLE_FIRST) -> persist_record(); store_o(me, OWNED_BY(NEXT_LIFE(vo[me]), 0))
       :: else -> write_record(RECORD(IDLE, 0, 0, 0, 0)); persist_record()
       fi;
       assert(LIFE(vo[me]) < 4);
       self[me] = ID(me, LIFE(vo[me]));
       pc[me] = own }

  /* -- worker.cpp:find_work, adopt.cpp:resume */
  :: atomic { pc[me] == own || pc[me] == robbed ->
       if
       :: pc[me] == robbed -> persist_record()
       :: pc[me] == own && KEPT(NO_OWN_PERSIST) && KEPT(NO_RESUMED_PERSIST) -> dr[me] = vr[me]
       :: else
       fi;
       if :: pc[me] == own -> d_o[me] = vo[me] :: else fi;
       units[me] = UNITS(vr[me]);
       r = vr[me];
       if :: KIND(r) == RUN && starter == STARTER(me) -> starter = NOBODY :: else fi;
       if
       :: KIND(r) == RUN || KIND(r) == RIGHT || KIND(r) == CONT ->
          kind[me] = KIND(r); at[me] = A(r);
          p = (KIND(r) == RUN -> A(r) : (KIND(r) == RIGHT -> PLACE(A(r), R) : PARENT(A(r))));
          find_candidates(p);
          pc[me] = go
       :: KIND(r) == STEAL || KIND(r) == ARRIVE || KIND(r) == ROB ->
          ex[me] = A(r); eg[me] = G(r); who[me] = X(r);
          if
          :: KIND(r) == STEAL -> pc[me] = (KEPT(NO_STEAL_ONLY_READ) && KEPT(NO_TOUCHED_NOR_ONLY_READ) -> steal_read : steal_cam)
          :: KIND(r) == ARRIVE -> pc[me] = arrive_look
          :: KIND(r) == ROB -> pc[me] = (KEPT(NO_ROB_ONLY_READ) -> rob_read : rob_cam)
          fi
       :: KIND(r) == DONE -> pc[me] = finished
       :: KIND(r) == IDLE -> become_idle()
       fi; r = 0 }

  /* -- worker.cpp:is_to_start_root, start_root */
  :: atomic { pc[me] == idle && (starter == ANYONE || starter == STARTER(me)) -> starter = STARTER(me); pc[me] = start }
  :: atomic { pc[me] == start ->
       kind[me] = RUN; at[me] = 0;
       write_record(RECORD(RUN, 0, 0, 0, units[me]));
       pc[me] = go }

  /* -- running a strand from its position, up to the next step that others see */
  :: atomic { pc[me] == go ->
       if :: written[me] -> persist_record(); reuse_memory() :: else fi;
       if :: starter == STARTER(me) -> starter = NOBODY :: else fi;
       if
       :: kind[me] == CONT ->
          f = at[me];
          assert((vf[f] & WHOLE) && (vf[f] & RESULT(L)) && (vf[f] & RESULT(R)));
          units[me] = units[me] | CONT_UNIT(f);
          if
          :: (vf[f] & COMMITTED) && KEPT(NO_POP_RULE) -> popped[me] = popped[me] | BIT(f)
          :: else -> store_f(f, 0)
          fi;
          touched_f[me] = touched_f[me] & ~BIT(f);
          p = PARENT(f);
          if :: p == 0 -> pc[me] = finish :: else fi
       :: else ->
          p = (kind[me] == RUN -> at[me] : PLACE(at[me], R));
          f = FORKS(p);
          if
          :: f != NOFRAME -> store_f(f, WHOLE); p = PLACE(f, L); safe_point(RUN, p); p = 0
          :: f == NOFRAME && turns < max_turns -> turns++; kind[me] = RUN; at[me] = p; pc[me] = begin; p = 0
          :: f == NOFRAME -> units[me] = units[me] | LEAF_UNIT(p)
          fi
       fi;
       if
       :: p == 0
       :: p != 0 -> /* a value goes to its place: context::deliver; then left_done, or what execute does on the right */
          f = FRAME_OF(p);
          assert(vf[f] & WHOLE);
          store_f(f, vf[f] | RESULT(SIDE_OF(p)));
          if :: KEPT(NO_RESULT_FLUSHED) -> touched_f[me] = touched_f[me] | BIT(f) :: else fi;
          if
          :: SIDE_OF(p) == L ->
             if :: KEPT(NO_LEFT_ONLY) -> cand[me] = cand[me] & ~BIT(f) :: else fi;
             if
             :: LINK_G(vf[f]) != 0 && KEPT(NO_TOUCHED_INLINED) && KEPT(NO_TOUCHED_NOR_ONLY_READ) -> touched_s[me] = touched_s[me] | BIT(LINK_S(vf[f]))
             :: else
             fi;
             if
             :: LINKED(f) -> ex[me] = LINK_S(vf[f]); eg[me] = LINK_G(vf[f]); at[me] = f; kind[me] = RIGHT; pc[me] = take_back
             :: else -> safe_point(RIGHT, f)
             fi
          :: else ->
             if
             :: STOLEN_EDGE(p) -> ex[me] = LINK_S(vf[f]); eg[me] = LINK_G(vf[f]); who[me] = R; pc[me] = arrive_flush
             :: else -> safe_point(CONT, f)
             fi
          fi
       fi; p = 0; f = 0 }

  /* -- safepoint.cpp:left_done, the CAM */
  :: atomic { pc[me] == take_back ->
       f = at[me]; i = ex[me];
       if
       :: RIGHT_SAYS(i, eg[me], AVAILABLE, 0) ->
          store_s(i, SET_RIGHT(vs[i], RIGHT_IS(eg[me], INLINED, 0)));
          shelf = shelf | BIT(i); hints = hints & ~BIT(i)
       :: else
       fi;
       if
       :: RIGHT_TAGGED(i, eg[me]) && RIGHT_ST(vs[i]) == STOLEN -> who[me] = L; pc[me] = arrive_flush
       :: else -> ex[me] = 0; eg[me] = 0; safe_point(RIGHT, f)
       fi; f = 0; i = 0 }

  /* -- commit.cpp:commit: flush_new_frames; expose_some takes the oldest candidate that nobody can take yet, and a slot
   * of its own; the slot's generation */
  :: atomic { pc[me] == begin ->
       p = (kind[me] == RUN -> at[me] : PLACE(at[me], R));
       do
       :: p != 0 && !(vf[FRAME_OF(p)] & COMMITTED) ->
          f = FRAME_OF(p);
          store_f(f, vf[f] | COMMITTED);
          touched_f[me] = touched_f[me] | BIT(f);
          if :: MAY_BE_OFFERED(p) -> cand[me] = cand[me] | BIT(f) :: else fi;
          p = PARENT(f)
       :: else -> break
       od; p = 0;
       f = 0;
       do :: f < F && !TO_EXPOSE(f) -> f++ :: else -> break od;
       j = FROM_SLOT(me);
       do
       :: j < TO_SLOT(me) && (shelf & BIT(j)) -> break
       :: j < TO_SLOT(me) && (!(shelf & BIT(j)) || LATER_FREE(j)) -> j++
       :: j >= TO_SLOT(me) -> break
       od;
       if
       :: f < F && j < TO_SLOT(me) ->
          shelf = shelf & ~BIT(j);
          eg[me] = GEN(vs[j]) + 1;
          assert(eg[me] < 8);
          ex[me] = j; who[me] = f; fresh[me] = fresh[me] | BIT(j);
          if :: GENERATION_FIRST -> store_s(j, SET_GEN(vs[j], eg[me])) :: else fi;
          pc[me] = expose_rest
       :: else -> pc[me] = record
       fi; j = 0; f = 0 }
  :: atomic { pc[me] == expose_rest ->
       i = ex[me];
       store_s(i, SET_JOIN(vs[i], JOIN_IS(eg[me], NONE)));
       store_s(i, SET_FRAME(vs[i], who[me]));
       i = 0;
       pc[me] = expose_link }
  :: atomic { pc[me] == expose_link ->
       f = who[me]; i = ex[me];
       store_f(f, UNLINKED(vf[f]) | LINK(i, eg[me]));
       if :: KEPT(NO_LINK_FLUSHED) -> touched_f[me] = touched_f[me] | BIT(f) :: else fi;
       if :: GENERATION_FIRST :: else -> store_s(i, SET_GEN(vs[i], eg[me])) fi;
       if
       :: KEPT(NO_AVAILABLE_LAST)
       :: else -> store_s(i, SET_RIGHT(vs[i], RIGHT_IS(eg[me], AVAILABLE, 0))); hints = hints | BIT(i); fresh[me] = fresh[me] & ~BIT(i)
       fi;
       ex[me] = 0; eg[me] = 0; who[me] = 0; f = 0; i = 0;
       if :: pc[me] = record :: pc[me] = begin fi }
  /* -- commit.cpp:commit: F1, then the record */
  :: atomic { pc[me] == record ->
       if :: KEPT(NO_FIRST_FENCE) -> flush(touched_f[me], touched_s[me] | fresh[me]) :: else fi;
       write_record(RECORD(kind[me], at[me], 0, 0, units[me]));
       pc[me] = (fresh[me] -> publish : go) }
  /* F2, then publish_exposed */
  :: atomic { pc[me] == publish ->
       if :: KEPT(NO_RECORD_BEFORE_AVAILABLE) && written[me] -> persist_record(); reuse_memory() :: else fi;
       i = 0;
       do :: i < S && !(fresh[me] & BIT(i)) -> i++ :: else -> break od;
       store_s(i, SET_RIGHT(vs[i], RIGHT_IS(GEN(vs[i]), AVAILABLE, 0)));
       hints = hints | BIT(i);
       fresh[me] = fresh[me] & ~BIT(i);
       i = 0;
       if :: fresh[me] == 0 -> pc[me] = go :: else fi }

  /* -- join.cpp:arrive */
  :: atomic { pc[me] == arrive_flush ->
       if
       :: KEPT(NO_STOLEN_FLUSHED) -> flush(touched_f[me], touched_s[me] | BIT(ex[me]))
       :: else -> flush(touched_f[me], touched_s[me] & ~BIT(ex[me]))
       fi;
       write_record(RECORD(ARRIVE, ex[me], eg[me], who[me], units[me]));
       if :: who[me] == L -> parked[ex[me]] = cand[me] + 1 :: else fi;
       cand[me] = 0;
       pc[me] = arrive_look }
  /* -- join.cpp:finish_arrive */
  :: atomic { pc[me] == arrive_look ->
       if :: written[me] -> persist_record(); reuse_memory() :: else fi;
       kind[me] = 0; at[me] = 0;
       if :: GEN(vs[ex[me]]) == eg[me] -> pc[me] = arrive_cam :: else -> become_idle() fi }
  :: atomic { pc[me] == arrive_cam ->
       i = ex[me]; j = ARRIVING(me, who[me]);
       if :: JOIN_SAYS(i, eg[me], NONE) -> store_s(i, SET_JOIN(vs[i], JOIN_IS(eg[me], FIRST(j)))) :: else fi;
       i = 0; j = 0;
       pc[me] = arrive_read }
  :: atomic { pc[me] == arrive_read ->
       i = ex[me]; j = ARRIVING(me, who[me]);
       if :: KEPT(NO_CAM_PERSIST_FIRST) -> ds[i] = vs[i] :: else fi;
       if
       :: JOIN_SAYS(i, eg[me], FIRST(1 - j)) ->
          store_s(i, SET_JOIN(vs[i], JOIN_IS(eg[me], CLAIMED(j))));
          pc[me] = arrive_claimed
       :: JOIN_SAYS(i, eg[me], CLAIMED(j)) -> pc[me] = arrive_claimed
       :: else -> become_idle()
       fi; i = 0; j = 0 }
  :: atomic { pc[me] == arrive_claimed ->
       i = ex[me]; j = ARRIVING(me, who[me]);
       if :: KEPT(NO_CAM_PERSIST_CLAIM) -> ds[i] = vs[i] :: else fi;
       if
       :: JOIN_SAYS(i, eg[me], CLAIMED(j)) ->
          f = SLOT_F(vs[i]);
          assert(vf[f] & WHOLE);
          if :: KEPT(NO_SLOT_KEPT) -> joined[me] = joined[me] | BIT(i) :: else -> shelf = shelf | BIT(i) fi;
          if :: KEPT(NO_LINK_CLEARED) -> store_f(f, UNLINKED(vf[f])) :: else fi;
          touched_f[me] = touched_f[me] | BIT(f);
          if
          :: parked[i] -> cand[me] = parked[i] - 1; parked[i] = 0
          :: else -> find_candidates(PARENT(f))
          fi;
          ex[me] = 0; eg[me] = 0; who[me] = 0;
          safe_point(CONT, f)
       :: else -> become_idle()
       fi; i = 0; j = 0; f = 0 }

  /* -- steal.cpp:steal. A hint may be there twice, or be lost with a fault of who took it. */
  :: atomic { pc[me] == idle && hints ->
       i = 0;
       do :: hints & BIT(i) -> break :: (hints >> (i + 1)) != 0 -> i++ od;
       if
       :: RIGHT_ST(vs[i]) == AVAILABLE ->
          if :: hints = hints & ~BIT(i) :: true fi;
          ex[me] = i; eg[me] = RIGHT_G(vs[i]); who[me] = self[me];
          write_record(RECORD(STEAL, i, eg[me], who[me], units[me]));
          pc[me] = steal_cam
       :: else -> hints = hints & ~BIT(i)
       fi; i = 0 }
  :: atomic { pc[me] == steal_cam ->
       persist_record();
       i = ex[me];
       if :: RIGHT_SAYS(i, eg[me], AVAILABLE, 0) -> store_s(i, SET_RIGHT(vs[i], RIGHT_IS(eg[me], STOLEN, who[me]))) :: else fi;
       i = 0;
       pc[me] = steal_read }
  /* -- steal.cpp:finish_steal */
  :: atomic { pc[me] == steal_read ->
       i = ex[me];
       if :: KEPT(NO_CAM_PERSIST_STEAL) -> ds[i] = vs[i] :: else fi;
       if
       :: RIGHT_SAYS(i, eg[me], STOLEN, who[me]) ->
          f = SLOT_F(vs[i]);
          write_record(RECORD(RIGHT, f, 0, 0, units[me]));
          cand[me] = 0; kind[me] = RIGHT; at[me] = f;
          ex[me] = 0; eg[me] = 0; who[me] = 0;
          pc[me] = go
       :: else -> become_idle()
       fi; f = 0; i = 0 }

  /* -- adopt.cpp:rob_a_grave. A grave stays in the list until its owner word says that it was robbed */
  :: atomic { pc[me] == idle && graves ->
       i = 0;
       do :: graves & BIT(i) -> break :: (graves >> (i + 1)) != 0 -> i++ od;
       if :: ROBBER(vo[i]) != 0 || !KEPT(NO_GRAVE_KEPT) -> graves = graves & ~BIT(i) :: else fi;
       if
       :: ROBBER(vo[i]) == 0 ->
          ex[me] = i; eg[me] = LIFE(vo[i]); who[me] = self[me];
          write_record(RECORD(ROB, i, eg[me], who[me], units[me]));
          pc[me] = rob_cam
       :: else
       fi; i = 0 }
  :: atomic { pc[me] == rob_cam ->
       persist_record();
       if :: vo[ex[me]] == OWNED_BY(eg[me], 0) -> store_o(ex[me], OWNED_BY(eg[me], who[me] + 1)) :: else fi;
       pc[me] = rob_read }
  /* -- adopt.cpp:finish_rob */
  :: atomic { pc[me] == rob_read ->
       if :: KEPT(NO_CAM_PERSIST_ROB) -> d_o[ex[me]] = vo[ex[me]] :: else fi;
       if
       :: vo[ex[me]] == OWNED_BY(eg[me], who[me] + 1) ->
          r = vr[ex[me]];
          assert((units[me] & UNITS(r)) == 0);
          units[me] = units[me] | UNITS(r);
          j = (KEPT(NO_COPY_IDENTITY) || KIND(r) != STEAL && KIND(r) != ROB -> X(r) : self[me]);
          write_record(RECORD(KIND(r), A(r), G(r), j, units[me]));
          r = 0; j = 0;
          ex[me] = 0; eg[me] = 0; who[me] = 0;
          pc[me] = robbed
       :: else -> become_idle()
       fi }

  /* -- worker.cpp:finish */
  :: atomic { pc[me] == finish ->
       flush(touched_f[me], touched_s[me]);
       write_record(RECORD(DONE, 0, 0, 0, units[me]));
       pc[me] = finished }
  :: atomic { pc[me] == finished ->
       persist_record();
       said = 1;
       r = 0; i = 0;
       do
       :: i < W ->
          assert(i == me || !HAS_STRAND(i));
          if
          :: ROBBER(vo[i]) == 0 ->
             j = i; /* and, where it is about to take over a dead one's record, what that counts */
             do
             :: assert((r & UNITS(vr[j])) == 0);
                r = r | UNITS(vr[j]);
                if :: ROBS(vr[j]) -> j = A(vr[j]) :: else -> break fi
             od
          :: else
          fi;
          i++
       :: else -> break
       od;
       assert(r == ALL_UNITS);
       i = 0; j = 0; r = 0;
       pc[me] = (KEPT(NO_DONE_LAST) -> stopped : idle) }
  /* -- worker.cpp:looks_over */
  :: atomic { pc[me] == idle && said -> pc[me] = stopped }

  /* -- faults of this worker: worker.cpp:live */
  :: atomic { softs < max_soft && MAY_FAULT(me) ->
       softs++;
       f = (pc[me] == enter_idle);
       forget();
       pc[me] = (f -> enter : own); f = 0 }
  :: atomic { hards < max_hard && MAY_FAULT(me) ->
       hards++;
       graves = graves | BIT(me);
       if
       :: KEPT(NO_DEAD_ONLY) ->
          if :: starter == STARTER(me) && KIND(vr[me]) != RUN && KEPT(NO_START_RESTORED) -> starter = ANYONE :: else fi;
          forget(); joined[me] = 0; pc[me] = dead
       :: else
       fi }
  od
}

/* ---- crash of all, and recover.cpp ------------------------------------------------------------------------------- */

/* survey::reach: the frames from a place up to the root */
inline reach(from) {
  p = from;
  do
  :: p == 0 -> break
  :: else ->
     f = FRAME_OF(p);
     assert(vf[f] & WHOLE);
     seen = seen | BIT(f);
     if :: LINKED(f) && RIGHT_ST(vs[LINK_S(vf[f])]) != INLINED -> used = used | BIT(LINK_S(vf[f])) :: else fi;
     p = PARENT(f)
  od
}

/* survey::reach, reach_join: what a record reaches. x: there is something left to do. */
inline reach_record() {
  x = 0; i = 0; j = NOFRAME;
  r = vr[w];
  do
  :: ROBS(r) ->
     if :: KEPT(NO_ENTER_CHECK) -> being_robbed = being_robbed | BIT(A(r)) :: else fi;
     x = 1; r = vr[A(r)]
  :: else -> break
  od;
  if
  :: KIND(r) == RUN -> begun = 1; x = 1; i = A(r)
  :: KIND(r) == RIGHT -> begun = 1; x = 1; i = PLACE(A(r), R)
  :: KIND(r) == CONT -> begun = 1; x = 1; j = A(r)
  :: KIND(r) == STEAL && RIGHT_SAYS(A(r), G(r), STOLEN, X(r)) && KEPT(NO_STEAL_REACHED) ->
     begun = 1; x = 1; used = used | BIT(A(r)); i = PLACE(SLOT_F(vs[A(r)]), R)
  :: KIND(r) == ARRIVE ->
     begun = 1;
     if
     :: GEN(vs[A(r)]) != G(r) || JOIN_SAYS(A(r), G(r), CLAIMED(1 - ARRIVING(w, X(r))))
     :: else ->
        used = used | BIT(A(r)); j = SLOT_F(vs[A(r)]);
        if :: JOIN_SAYS(A(r), G(r), FIRST(ARRIVING(w, X(r)))) :: else -> x = 1 fi
     fi
  :: KIND(r) == DONE -> begun = 1; x = 1
  :: else
  fi;
  if
  :: j != NOFRAME -> assert(vf[j] & WHOLE); seen = seen | BIT(j); i = PARENT(j)
  :: else
  fi;
  reach(i);
  if :: x -> strands = strands | BIT(w) :: else fi
}

inline recover() {
  w = 0;
  do
  :: w < W ->
     if :: KEPT(NO_RECOVERY_PERSIST) && KEPT(NO_RESUMED_PERSIST) -> dr[w] = vr[w]; d_o[w] = vo[w] :: else fi;
     w++
  :: else -> break
  od;
  w = 0;
  do
  :: w < W -> if :: ROBBER(vo[w]) == 0 -> reach_record() :: else fi; w++
  :: else -> break
  od;
  starter = (begun -> NOBODY : ANYONE);
  /* frames that nothing reaches are garbage */
  w = 0;
  do
  :: w < F -> if :: !(seen & BIT(w)) -> vf[w] = 0; df[w] = 0 :: else fi; w++
  :: else -> break
  od;
  /* choose_slots: those with a strand first */
  x = W;
  if :: true :: fewer -> x = 1 fi;
  w = 0;
  do
  :: w < 2 * W ->
     i = w % W;
     if
     :: x > 0 && pc[i] == off && !(being_robbed & BIT(i)) && (w >= W || (strands & BIT(i))) -> pc[i] = enter; x--
     :: else
     fi; w++
  :: else -> break
  od;
  w = 0;
  do
  :: w < W -> if :: (strands & BIT(w)) && pc[w] == off -> graves = graves | BIT(w) :: else fi; w++
  :: else -> break
  od;
  w = 0;
  do
  :: w < W ->
     i = FROM_SLOT(w);
     do
     :: i < TO_SLOT(w) -> if :: pc[w] == enter && !(used & BIT(i)) -> shelf = shelf | BIT(i) :: else fi; i++
     :: else -> break
     od; w++
  :: else -> break
  od
}

inline lose_ephemeral() {
  w = 0;
  do
  :: w < W ->
     pc[w] = off; kind[w] = 0; at[w] = 0; cand[w] = 0; fresh[w] = 0; touched_s[w] = 0; joined[w] = 0; touched_f[w] = 0; popped[w] = 0;
     ex[w] = 0; eg[w] = 0; who[w] = 0; self[w] = 0; units[w] = 0; written[w] = 0;
     w++
  :: else -> break
  od;
  w = 0;
  do :: w < S -> parked[w] = 0; w++ :: else -> break od;
  hints = 0; shelf = 0; graves = 0; said = 0
}

/* Each line keeps what is visible, or falls back to what is durable. */
inline power_fails() {
  w = 0;
  do
  :: w < W && vr[w] != dr[w] -> if :: vr[w] = dr[w] :: dr[w] = vr[w] fi
  :: w < W && vr[w] == dr[w] && vo[w] != d_o[w] -> if :: vo[w] = d_o[w] :: d_o[w] = vo[w] fi
  :: w < W && vr[w] == dr[w] && vo[w] == d_o[w] -> w++
  :: else -> break
  od;
  w = 0;
  do
  :: w < S && vs[w] != ds[w] -> if :: vs[w] = ds[w] :: ds[w] = vs[w] fi
  :: w < S && vs[w] == ds[w] -> w++
  :: else -> break
  od;
  w = 0;
  do
  :: w < F && vf[w] != df[w] -> if :: vf[w] = df[w] :: df[w] = vf[w] fi
  :: w < F && vf[w] == df[w] -> w++
  :: else -> break
  od
}

#define GONE(w) (pc[w] == dead || pc[w] == off || pc[w] == stopped)
#if W == 2
#define ALL_GONE (GONE(0) && GONE(1))
#else
#define ALL_GONE (GONE(0) && GONE(1) && GONE(2))
#endif
#define HAS_DONE(w) (ROBBER(vo[w]) == 0 && KIND(vr[w]) == DONE)

proctype crash_of_all() {
  byte w, i, j, x, p, f, used, seen, strands, being_robbed;
  int r;
  bit begun;
  do
  :: atomic { over -> break }
  /* job.cpp:find_done, then the entry: one transaction */
  :: atomic { !over && said && ALL_GONE ->
       w = 0; x = 0;
       do :: w < W -> x = x + HAS_DONE(w); w++ :: else -> break od;
       assert(x == 1);
       over = 1; w = 0; x = 0 }
  :: atomic { !over && (crashes < max_crashes || ALL_GONE && !said) ->
       if
       :: crashes < max_crashes -> crashes++; lose_ephemeral(); if :: power_fails() :: true fi
       :: ALL_GONE && !said -> lose_ephemeral() /* workers_lost: the job is run again */
       fi;
       recover();
       w = 0;
       do :: LAST && w < W -> dr[w] = vr[w]; d_o[w] = vo[w]; w++ :: else -> break od;
       w = 0;
       do :: LAST && w < S -> ds[w] = vs[w]; w++ :: else -> break od;
       w = 0;
       do :: LAST && w < F -> df[w] = vf[w]; w++ :: else -> break od;
       w = 0; i = 0; j = 0; x = 0; p = 0; f = 0; r = 0; begun = 0; used = 0; seen = 0; strands = 0; being_robbed = 0 }
  od
}

init {
  atomic {
    byte w;
#ifdef CHOOSE
    c_code {
      const char* given;
      if ((given = getenv("WITHOUT"))) now.without = atoi(given);
      if ((given = getenv("CRASHES"))) now.max_crashes = atoi(given);
      if ((given = getenv("HARD"))) now.max_hard = atoi(given);
      if ((given = getenv("SOFT"))) now.max_soft = atoi(given);
      if ((given = getenv("TURNS"))) now.max_turns = atoi(given);
      if ((given = getenv("FEWER"))) now.fewer = atoi(given);
    };
#endif
    w = 0;
    do :: w < W -> pc[w] = idle; self[w] = ID(w, 0); w++ :: else -> break od;
    w = 0;
    do :: w < S -> shelf = shelf | BIT(w); w++ :: else -> break od;
    pc[0] = start; starter = STARTER(0); /* by symmetry */
    w = 0;
    do :: w < W -> run worker(w); w++ :: else -> break od;
    run crash_of_all()
  }
}
