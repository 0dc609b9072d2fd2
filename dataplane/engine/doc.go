// Package engine is the state machine of one volume at its owner: it turns host reads and writes into chunk
// requests and decides what may be acknowledged. It is pure: no goroutine, clock, socket or log. Events come
// in as method calls, actions go out through [Engine.Drain]; one mutex (or one goroutine) drives an engine,
// and the actions are carried out outside it.
//
//	Submit(op), ChunkDone(request), Recorded(ok), Tick()       in
//	SetTable(table), SetView(view), Suspect(device), ParentDone(read)
//	Ready{Sends, Done, Parent, Record, Serving, Fenced, Exhausted}     out
//
// docs/protocol.md tells the whole protocol and why it holds. Its rules, and where they are kept:
//
//  1. Row order. Operations on the same block rows take effect in the order of arrival; waiting writes of the
//     same rows merge into one row write (op.go, lock.go, write.go).
//  2. A sent w is final. A row write goes to every column of its write set under one w: its changed data
//     columns and all parities. It ends when each of these columns has it, at home or at an alternate, or is
//     recorded as stale; only then is the host answered and are the rows free (send.go).
//  3. Journal before acknowledgement. A column that cannot be written where it belongs gets an entry in the
//     placement journal first: an alternate that takes its writes from now on, or "stale". Never are so many
//     columns of a page stale that fewer than n are left; then the write waits (journal.go).
//  4. Reads ask the column; what it cannot give is decoded from n others that agree about the row's newest
//     version, and what was bad is written again under its w (read.go, gather.go): also
//     what nobody reads, once a device that scrubs its blocks has found it (repair.go). Only "absent" from
//     every alternate permits the home (place.go).
//  5. Open. A new owner fences the devices, reads the journal from enough of its members, and brings
//     every row that has an unstable version to one state: forward when n columns have it, back when n
//     columns are there and it cannot go forward (open.go, resolve.go). It serves when every group has n
//     columns there.
//  6. Return. A device that missed writes comes home by the journal: page by page, under the rows' lock
//     (mend.go, copy.go). One that missed an open has each of its unstable versions judged by what the others
//     decode to (judge.go), then it is settled; until then these blocks do not count.
//  7. Moves. When the pool has a new group table, columns of pages move one at a time and leave a complete
//     entry in the journal until the layout's cursor has passed their group (move.go).
//  8. Space is granted before it is used (credit.go); devices free what the stable mark with its holes allows
//     (window.go), and never what a pin may see (view.go).
//  9. A revert hides what was written since a pin. It is recorded, and brought to the devices, while nothing
//     is under way (hold.go); an open decides nothing about what is hidden (resolve.go).
//  10. What was never written in a clone is its parent's, and is asked of the parent's owner. Zeroes that
//     were written there stay told apart from that, for good (parent.go).
//  11. Where stripe units are packed, a unit is locked, read and written as one, and an open decides about
//     its rows together (pack.go).
//  12. A fenced owner stops. Any "fenced" answer, or an owner record that moved, ends the engine: nothing is
//     acknowledged afterwards.
//
// Bounds: operations are as many as the caller submits (queue depth); a batch merges at most maxMerged of
// them; an open resolves resolveWidth rows, a judgement judgeWidth blocks, a device's repair repairWidth,
// mender and mover mendWidth and moveWidth columns at a time; a journal entry has at most chunk.MaxAlternates
// places, and the journal one entry per column of a page that is away from home.
package engine
