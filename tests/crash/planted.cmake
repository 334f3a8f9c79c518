# Planted faults: each is one mistake in the protocol, made in a copy of one source file. The explorer, linked with that
# copy in place of the library's own, must find it; a test that cannot fail proves nothing.
#
#   plant(name file.cpp FROM text TO text [SCENARIOS name…] [ARGS argument…])
#
# The file is one of sched/, if no folder is named. FROM must stand in the file exactly once: so a fault cannot outlive the code that it breaks.
# Of a header of algo/ the copy is found before the library's own when algorithms.cpp is compiled, the only place that runs it.
#
# Some faults that were tried are not here, for the explorer does not find them within a minute each time: a walk for
# candidates beyond the stolen edge, a new life begun before its IDLE record, a link that counts whatever the right word
# says, the records that recovery persists before others are overwritten, a freed block that is used again before the
# freer's next record, and redo lists that are not emptied after they were replayed. They need three workers, or two
# failures of different kinds, in one particular order; tests/model has them. Two others turned out to be none: a STEAL
# whose CAM is repeated by its resumption wins only what is still free to take, and a slot whose line is not flushed when
# it is exposed does not count after a failure; the flush keeps its generation from being used twice.

add_custom_target(planted)
if(PPMM_PRECOMPILE)  # once for all of them
  file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/planted/precompiled.cpp CONTENT "")
  add_library(planted_precompiled OBJECT EXCLUDE_FROM_ALL ${CMAKE_CURRENT_BINARY_DIR}/planted/precompiled.cpp)
  target_link_libraries(planted_precompiled PRIVATE explorer)
  target_compile_options(planted_precompiled PRIVATE -g0)
  ppmm_precompile(planted_precompiled ${PPMM_LIBRARY_INCLUDES})
endif()

function(plant name file)
  cmake_parse_arguments(PARSE_ARGV 2 arg "" "FROM;TO" "SCENARIOS;ARGS")
  if(NOT file MATCHES "/")
    set(file sched/${file})
  endif()
  set(source ${PROJECT_SOURCE_DIR}/${file})
  file(READ ${source} text)
  string(REPLACE "${arg_FROM}" "@PLANTED@" mutated "${text}")
  string(REGEX MATCHALL "@PLANTED@" found "${mutated}")
  list(LENGTH found times)
  if(NOT times EQUAL 1)
    message(FATAL_ERROR "planted fault ${name}: its text stands in ${file} ${times} times instead of once:\n${arg_FROM}")
  endif()
  string(REPLACE "@PLANTED@" "${arg_TO}" mutated "${mutated}")
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${source})
  set(folder ${CMAKE_CURRENT_BINARY_DIR}/planted/${name})
  file(CONFIGURE OUTPUT ${folder}/ppmm/${file} CONTENT "${mutated}" @ONLY)
  if(file MATCHES "^algo/.*hpp$")
    add_executable(planted_${name} EXCLUDE_FROM_ALL algorithms.cpp $<TARGET_OBJECTS:explorer>)
    target_include_directories(planted_${name} BEFORE PRIVATE ${folder})
  else()
    add_executable(planted_${name} EXCLUDE_FROM_ALL ${folder}/ppmm/${file} $<TARGET_OBJECTS:explorer> $<TARGET_OBJECTS:explored_algorithms>)
    if(PPMM_PRECOMPILE)
      target_precompile_headers(planted_${name} REUSE_FROM planted_precompiled)
    endif()
  endif()
  target_link_libraries(planted_${name} PRIVATE explorer)
  target_compile_options(planted_${name} PRIVATE -g0)  # nobody debugs it; sixty of them are compiled
  add_dependencies(planted planted_${name})
  if(NOT arg_ARGS)
    set(arg_ARGS --depth 1 --schedules 60)
  endif()
  set(scenarios)
  foreach(s IN LISTS arg_SCENARIOS)
    list(APPEND scenarios --scenario ${s})
  endforeach()
  add_test(NAME Planted.${name} COMMAND planted_${name} --expect-wrong --outcomes-only ${scenarios} ${arg_ARGS})
  set_tests_properties(Planted.${name} PROPERTIES LABELS "crash;planted" TIMEOUT 600)
endfunction()

# --- commit

plant(frames_not_flushed commit.cpp
  FROM "persister_.flush(f, frame_bytes(f->type));\n    if (p.which()"
  TO "if (p.which()")
plant(filled_blocks_not_flushed pmem/persist.cpp
  FROM "    std::memcpy(to, from, n);\n    flush(to, n);"
  TO "    std::memcpy(to, from, n);"
  SCENARIOS fill)
plant(stored_words_not_told safepoint.cpp
  FROM "  worker_->persister_.stored_past_caches(p, n);\n"
  TO "  static_cast<void>(p), static_cast<void>(n);\n"
  SCENARIOS stores)
plant(results_not_flushed commit.cpp
  FROM "for (const frame* f : touched_) persister_.flush(f, frame_bytes(f->type));"
  TO "")
plant(right_words_not_flushed commit.cpp
  FROM "for (const exposure_slot* s : touched_slots_) persister_.flush(s, sizeof *s);"
  TO "")
plant(views_not_flushed commit.cpp
  FROM "for (const byte_range& w : to_flush_) persister_.flush(reinterpret_cast<const void*>(w.first), w.last - w.first);"
  TO ""
  SCENARIOS overwrite loop)
plant(first_fence_left_out commit.cpp
  FROM "expose_some();\n  access();\n  persister_.fence();"
  TO "expose_some();\n  access();")
plant(record_before_frames commit.cpp
  FROM "  persist_record(r);\n  publish_exposed();"
  TO "  flush_new_frames(next.to);\n  flush_touched();\n  prepare_list();\n  persister_.fence();\n  publish_exposed();")
plant(record_fence_left_out commit.cpp
  FROM "persister_.flush(at, bytes);\n  persister_.fence();"
  TO "persister_.flush(at, bytes);")
plant(record_not_flushed commit.cpp
  FROM "persister_.flush(at, bytes);\n  persister_.fence();"
  TO "static_cast<void>(at);\n  persister_.fence();"
  SCENARIOS fork steal)
plant(generation_not_raised commit.cpp
  FROM "static_cast<std::uint32_t>(s.generation.load()) + 1"
  TO "std::max(static_cast<std::uint32_t>(s.generation.load()), 1u)"
  SCENARIOS loop)
plant(available_before_record commit.cpp
  FROM "    persister_.flush(&s, sizeof s);\n    persister_.flush(f, sizeof *f);"
  TO "    s.right.store(right_word(e.generation, right_state::available));\n    hints_.push(e);\n    persister_.flush(&s, sizeof s);\n    persister_.flush(f, sizeof *f);")
plant(link_not_flushed commit.cpp
  FROM "    persister_.flush(&s, sizeof s);\n    persister_.flush(f, sizeof *f);"
  TO "    persister_.flush(&s, sizeof s);")

# --- records

plant(one_record_buffer record.cpp
  FROM "record& buffer = slot.records[r.sequence & 1];"
  TO "record& buffer = slot.records[0];")

# --- steal

plant(steal_not_persisted steal.cpp
  FROM "exposure_slot& s = team_.img.checked_slot(e);\n  persister_.persist(&s, sizeof s);"
  TO "exposure_slot& s = team_.img.checked_slot(e);")
plant(steal_without_record steal.cpp
  FROM "  persist_record(r);\n  s.right.cam("
  TO "  s.right.cam(")
plant(steal_not_asked_whose steal.cpp
  FROM "if (s.right.load() != right_word(e.generation, right_state::stolen, thief)) return std::nullopt;"
  TO "if (static_cast<right_state>(s.right.load() & 3) != right_state::stolen) return std::nullopt;")
plant(won_steal_forgotten recover.cpp
  FROM "climb(place(forked(e, false), side::right));"
  TO "")

# --- join

plant(arrive_not_persisted join.cpp
  FROM "slot.join.cam(none, first);\n  persister_.persist(&slot, sizeof slot);"
  TO "slot.join.cam(none, first);"
  SCENARIOS steal nested)
plant(claim_not_persisted join.cpp
  FROM "slot.join.cam(other_first, claimed);\n    persister_.persist(&slot, sizeof slot);"
  TO "slot.join.cam(other_first, claimed);")
plant(stolen_not_flushed_before_arrive join.cpp
  FROM "touched_slots_.push_back(&team_.img.slot(e.slot));  // STOLEN was read in it, and is acted on [M]"
  TO "std::erase(touched_slots_, &team_.img.slot(e.slot));"
  SCENARIOS steal ARGS --depth 1 --schedules 1500 --seed 3)
plant(arrive_before_result join.cpp
  FROM "flush_touched();\n  prepare_list();\n  persister_.fence();\n  restart r;"
  TO "restart r;")
plant(slot_reused_at_claim join.cpp
  FROM "joined_slots_.push_back(e.slot);"
  TO "team_.shelves[image::home_of(e.slot)].give_back(e.slot);"
  SCENARIOS fork-again)
plant(link_kept_after_claim join.cpp
  FROM "f->link = link_flag::committed;  // nobody else comes here any more; flushed with the next commit"
  TO "")

# --- taking back

plant(inlined_child_lost safepoint.cpp
  FROM "if (was_available && right == inlined) {"
  TO "if (!was_available && right == inlined) return after_left::gone;\n      if (was_available && right == inlined) {")
plant(taken_back_without_cam safepoint.cpp
  FROM "s.right.cam(available, inlined);"
  TO "if (was_available) s.right.store(inlined);")
plant(taken_back_not_flushed safepoint.cpp
  FROM "if (e.generation != 0) touched_slots_.push_back(&team_.img.slot(e.slot));  // whatever it says is acted on [M]"
  TO "")
plant(popped_frame_reused stacklet.cpp
  FROM "  const std::uint32_t chunk = image_.chunk_of(popped);\n  std::byte *first"
  TO "  room_.top = reinterpret_cast<std::byte*>(const_cast<frame*>(popped));\n  const std::uint32_t chunk = image_.chunk_of(popped);\n  std::byte *first"
  SCENARIOS rare nested)

# --- adoption and recovery

plant(link_without_generation image.cpp
  FROM "return s.generation.load() == e.generation && s.right.load() >> 32 == e.generation && s.frame_address.load() == reinterpret_cast<std::uintptr_t>(f);"
  TO "return s.frame_address.load() == reinterpret_cast<std::uintptr_t>(f);"
  SCENARIOS nested busy)
plant(rob_not_persisted adopt.cpp
  FROM "  persister_.persist(&dead.owner, sizeof dead.owner);\n  access();\n  if (dead.owner.load()"
  TO "  access();\n  if (dead.owner.load()"
  SCENARIOS graves)
plant(copied_steal_renamed adopt.cpp
  FROM "  progress_ += r.progress;"
  TO "  if (r.kind == record_kind::steal) r.type = identity_word(self_);\n  progress_ += r.progress;"
  SCENARIOS wide steal graves)
plant(robbed_units_forgotten adopt.cpp
  FROM "progress_ += r.progress;"
  TO "progress_ += 0;")
plant(robbed_slot_entered recover.cpp
  FROM "|| found.being_robbed(i) ||"
  TO "||"
  SCENARIOS graves steal)

# --- the end

plant(done_before_output worker.cpp
  FROM "  flush_touched();\n  prepare_list();\n  persister_.fence();\n  restart r;\n  r.kind = record_kind::done;"
  TO "  restart r;\n  r.kind = record_kind::done;"
  SCENARIOS overwrite)

# --- soft faults

plant(own_record_not_persisted worker.cpp
  FROM "persister_.persist(&durable_.records[own.sequence & 1], record_bytes(own.bytes));"
  TO ""
  SCENARIOS soft-alone)

# --- heap: redo lists

plant(list_not_flushed alloc/arena.cpp
  FROM "persister_.flush(&area, 32 + here * sizeof(std::uint64_t));"
  TO ""
  SCENARIOS allocation hand-over)
plant(list_applied_before_record commit.cpp
  FROM "  const void* at = write_record(durable_, r, bytes);"
  TO "  if (arena_.committed(r.sequence)) unfenced_ = persister_.counters().fences;\n  const void* at = write_record(durable_, r, bytes);"
  SCENARIOS allocation hand-over)
plant(list_bits_not_flushed alloc/arena.cpp
  FROM "  if (line != nullptr) persister_.flush(line, sizeof *line);\n  log_.clear();"
  TO "  log_.clear();"
  SCENARIOS allocation hand-over)
plant(list_not_applied_at_restart recover.cpp
  FROM "for (const auto& list : found.lists()) t.objects.replay(list.words, p);"
  TO ""
  SCENARIOS allocation hand-over)
plant(list_not_applied_at_robbing adopt.cpp
  FROM "if (r.has_list) {"
  TO "if (r.has_list && team_.workers.empty()) {"
  SCENARIOS heap-graves)
plant(robbed_record_only_visible adopt.cpp
  FROM "    persister_.persist(&dead.records[r.sequence & 1], record_bytes(r.bytes));\n"
  TO ""
  SCENARIOS heap-graves)
plant(list_not_applied_after_soft_fault alloc/arena.cpp
  FROM "    forget();\n  else\n    committed(sequence);"
  TO "    forget();\n  else\n    newest_ = sequence, forget();"
  SCENARIOS heap-soft)
plant(capsule_not_undone_after_soft_fault alloc/arena.cpp
  FROM "  if (sequence == newest_)\n    forget();\n  else"
  TO "  if (sequence != newest_)"
  SCENARIOS heap-soft)
plant(chunk_entry_only_visible alloc/heap.cpp
  FROM "  p.persist(&e, sizeof e);  // also where it was"
  TO "  // also where it was"
  SCENARIOS later-job ARGS --depth 2 --schedules 4)
plant(not_kept alloc/heap.cpp
  FROM "  p.persist(&kept, sizeof kept);"
  TO "  static_cast<void>(p);"
  SCENARIOS allocation)
plant(root_not_flushed alloc/heap.cpp
  FROM "  p.flush(&v, sizeof v);  // durable with the capsule's commit"
  TO ""
  SCENARIOS allocation)

plant(young_bits_only_visible alloc/heap.cpp
  FROM "  for (std::uint32_t w = 0; w < words; ++w) bits[w].young.store(0);\n  p.persist(bits, words * sizeof *bits);"
  TO "  for (std::uint32_t w = 0; w < words; ++w) bits[w].young.store(0);"
  SCENARIOS later-job)
plant(serial_before_young_bits alloc/heap.cpp
  FROM "    resolve(chunk, p);\n    const std::uint64_t word = e.word.load();\n    e.serial.store(chunks_.serial());"
  TO "    const std::uint64_t word = e.word.load();\n    e.serial.store(chunks_.serial());\n    p.persist(&e, sizeof e);\n    resolve(chunk, p);"
  SCENARIOS later-job)

# --- updates in place, shared cells

plant(undo_log_not_fenced undo.cpp
  FROM "    n -= part;\n  }\n  persister_.fence();"
  TO "    n -= part;\n  }"
  SCENARIOS update)
plant(undo_log_truncated_too_soon undo.cpp
  FROM "if (sequence_ != sequence) chunk_ = at_ = 0;"
  TO "chunk_ = at_ = 0;"
  SCENARIOS update)
plant(undo_log_counts_for_ever undo.cpp
  FROM "if (h.sequence != sequence || sequence == 0 || "
  TO "if (h.sequence == 0 || "
  SCENARIOS update)
plant(undo_log_of_another_slot undo.cpp
  FROM "{h.sequence, h.address, h.bytes, slot};"
  TO "{h.sequence, h.address, h.bytes, slot * 0};"
  SCENARIOS update-graves)
plant(not_undone_at_robbing adopt.cpp
  FROM "  roll_back(slot, team_.img, r.sequence, persister_);  // while the record says ROB [M]"
  TO ""
  SCENARIOS update-graves)
plant(undone_without_record worker.cpp
  FROM "if (roll_back(slot_, team_.img, own.sequence, persister_)) persist_record(own);"
  TO "roll_back(slot_, team_.img, own.sequence, persister_);"
  SCENARIOS update-joins)
plant(slot_freed_by_the_same_arrive_again commit.cpp
  FROM "r.kind == record_kind::arrive && r.exposed().slot == s"
  TO "r.kind == record_kind::arrive && s == no_chunk"
  SCENARIOS update-joins
  ARGS --depth 0 --schedules 2000)

# --- algorithms

plant(turn_begins_behind_itself algo/for_each.hpp
  FROM "      if (!cx.safe_point(rest)) return step<void>::detached();\n"
  TO "      for_each_loop behind = rest;\n      behind.lo += std::min(rest.turn.elements(), rest.hi - rest.lo);\n      if (!cx.safe_point(behind)) return step<void>::detached();\n"
  SCENARIOS map)
plant(turn_begins_at_the_first algo/merge.hpp
  FROM "if (!cx.safe_point(rest))"
  TO "if (!cx.safe_point(*this))"
  SCENARIOS merge)
plant(stolen_half_forgets_what_is_before algo/scan.hpp
  FROM "sum_before_blocks(cx, parts, sums, known, before);"
  TO "sum_before_blocks(cx, parts, sums, known, parts.identity);"
  SCENARIOS scan)
plant(part_not_looked_at_passed_over algo/find.hpp
  FROM "right.looked_at ? end : middle"
  TO "end"
  SCENARIOS find)
plant(sums_of_blocks_not_freed algo/filter.hpp
  FROM "d.free(before);"
  TO "static_cast<void>(before), static_cast<void>(d);"
  SCENARIOS pack)
plant(leaf_sorted_in_place algo/sort.hpp
  FROM "    const std::span<T> to = cx.write(scratch);\n"
  TO "    std::stable_sort(const_cast<T*>(from.data()), const_cast<T*>(from.data()) + from.size(), less);\n    const std::span<T> to = cx.write(scratch);\n"
  SCENARIOS sort)
plant(done_overwritten_by_the_next_grave adopt.cpp
  FROM "if (p || team_.books->finished) return p;"
  TO "if (p) return p;"
  SCENARIOS update-graves)
