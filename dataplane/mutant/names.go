package mutant

// Name is a bug that can be planted.
type Name string

// Bugs of the chunk servers. A1 .. C6 are the counterexamples that the dropped rule answers.
const (
	SkipFence       Name = "skip-fence"        // requests of smaller owner epochs are carried out (B3)
	ForgetFence     Name = "forget-fence"      // a fence does not survive the crash of its device (B3)
	SettleIgnored   Name = "settle-ignored"    // a fence settles what older epochs left open (A1)
	MarkOverEpochs  Name = "mark-over-epochs"  // a stable mark speaks for older epochs too (A1)
	HoleIgnored     Name = "hole-ignored"      // the holes of a stable mark count as complete (C1)
	FreeUnstable    Name = "free-unstable"     // a newer version frees older ones before it is stable (A4)
	BadUncovers     Name = "bad-uncovers"      // a version with spoiled data gives way to the older one (A10)
	OldResidency    Name = "old-residency"     // requests under an older residency are carried out (B1)
	KeepResidency   Name = "keep-residency"    // a new residency begins with what the older one held (B1)
	CreditIgnored   Name = "credit-ignored"    // more space is granted than there is (C5)
	JournalForgets  Name = "journal-forgets"   // journal entries do not survive the crash of their device (B6)
	UndoIgnored     Name = "undo-ignored"      // an undo is answered and not carried out (A2, A4)
	AnswerTooSoon   Name = "answer-too-soon"   // a write is answered before it is durable (P1)
	GhostNewSession Name = "ghost-new-session" // a broken connection outlives its successor (A4)
)

// Bugs of the gateways and of the voters.
const (
	ServeUnrecorded  Name = "serve-unrecorded"   // hosts are let in before the owner record says so (B3)
	ServeUncleared   Name = "serve-uncleared"    // hosts are let in while the old owner's lease may run (B3)
	AnswerUnleased   Name = "answer-unleased"    // hosts are answered without a valid lease (B3)
	FenceOneVoter    Name = "fence-one-voter"    // a take-over is content with the fence of one voter (B3)
	VoterForgets     Name = "voter-forgets"      // a voter's fences do not survive a restart (B3)
	LeaseFromArrival Name = "lease-from-arrival" // a lease counts from the answer, not from the request (B3)
	FencesUnread     Name = "fences-unread"      // fences in lease replies take no volume away (B3)
	RecordUnchecked  Name = "record-unchecked"   // the owner record is written without comparing (A2)
	LateUnmarked     Name = "late-unmarked"      // what a host sent before a shrink is carried out after it
	HoldUnawaited    Name = "hold-unawaited"     // a group snapshot takes pins before all volumes are held
	LentUnchecked    Name = "lent-unchecked"     // lent pins are recorded without comparing owner records
	LentDropped      Name = "lent-dropped"       // a lent pin is given up while it may still be recorded
	ReleaseServing   Name = "release-serving"    // an owner says that it has released, and goes on (B3)
)

// Bugs of the engine.
const (
	AckUncovered     Name = "ack-uncovered"     // a write is answered though a column missed it (A4)
	EntryOfOne       Name = "entry-of-one"      // a journal entry counts when one member has it (B6)
	SealForgotten    Name = "seal-forgotten"    // what a minority of the members kept speaks at an open (B6)
	MemberLingers    Name = "member-lingers"    // a device is a member again, with requests of before (B6)
	AbsentCounted    Name = "absent-counted"    // a column becomes stale while others are away (P1)
	StaleUnbounded   Name = "stale-unbounded"   // more columns become stale than the code can stand (A6)
	AlternateSkipped Name = "alternate-skipped" // an alternate that is away is passed over for the home (B2)
	EntryUnread      Name = "entry-unread"      // reads go to the home though the journal has an entry (B2)
	ResidencyReused  Name = "residency-reused"  // all alternates of an epoch have one residency (B1)
	ResolveSkipped   Name = "resolve-skipped"   // an open leaves unfinished row writes as they are (A2)
	ForwardAnyhow    Name = "forward-anyhow"    // an open takes older versions of the write set (A5)
	BackAnyhow       Name = "back-anyhow"       // an open removes a version that n columns have (A3)
	RotUndone        Name = "rot-undone"        // an open takes what has rotted for torn (P1)
	JudgeSkipped     Name = "judge-skipped"     // a device that missed an open is trusted (A2)
	StableEarly      Name = "stable-early"      // the stable mark covers writes that are under way (A1)
	MaskForgotten    Name = "mask-forgotten"    // a partial row write forgets which other columns hold data (A5)
	MergeUnlocked    Name = "merge-unlocked"    // row writes of one row run at the same time (P2)
	ReadUnlocked     Name = "read-unlocked"     // reads do not wait for writes of the same blocks (P2)
	HeadUnchecked    Name = "head-unchecked"    // a row is decoded from columns of different versions (A10)
	MendUncopied     Name = "mend-uncopied"     // a column counts as home before its data is there (B2)
	OpenTooFew       Name = "open-too-few"      // an open goes on with n - 1 columns of a group (A3)
	DropUnordered    Name = "drop-unordered"    // alternates are freed though an older one was not (B2)
	MoveUnnoticed    Name = "move-unnoticed"    // pages that are new when their group moves stay behind (B7)
	CursorEarly      Name = "cursor-early"      // a group counts as moved before its pages have (B7)
	PinUnprotected   Name = "pin-unprotected"   // the stable mark passes a pin that devices do not know (A9)
	MarksUnread      Name = "marks-unread"      // an open decides versions that are known to be complete
	ParityTrusted    Name = "parity-trusted"    // a parity made of data alone counts beside one that knows more
	ParityUnasked    Name = "parity-unasked"    // a row is decoded without asking all parities
	MarkBeforeView   Name = "mark-before-view"  // a device hears of the mark before it has the view list
	PinUncopied      Name = "pin-uncopied"      // copies are not made for pins that no list names yet
	PinUnjudged      Name = "pin-unjudged"      // versions in question are judged as the present sees them only
	ApprovedUndone   Name = "approved-undone"   // a version in question goes though a pin sees it rightly
	NumberUnchecked  Name = "number-unchecked"  // a version in question stays under a number of its own
	SpareIgnored     Name = "spare-ignored"     // the last n columns of a page are in question, too
	ViewSentOnce     Name = "view-sent-once"    // a view list that a device did not take is not sent again
	SpaceAskedOnce   Name = "space-asked-once"  // space is asked for once, whoever uses it
	OpenUnnumbered   Name = "open-unnumbered"   // an open asks for numbers that devices do not know yet
	ReturnUnnumbered Name = "return-unnumbered" // a device that is back is asked for numbers it does not know
	SweepUnnumbered  Name = "sweep-unnumbered"  // a sweep frees what is about to be renumbered
	HoldUndrained    Name = "hold-undrained"    // a revert does not wait for what is under way
	HoldUnspread     Name = "hold-unspread"     // hosts go on before all devices know of a revert
	HiddenDecided    Name = "hidden-decided"    // an open decides about what a revert has hidden
	TombUncovered    Name = "tomb-uncovered"    // copies lack tombstones over what a revert brought back
	WritesUnheld     Name = "writes-unheld"     // writes go on while a group snapshot holds them
	PinOverlooked    Name = "pin-overlooked"    // copies hold what the present sees only
	RevertOverlooked Name = "revert-overlooked" // copies lack what a pin sees that a revert has hidden since
	ReturnUnviewed   Name = "return-unviewed"   // a device comes back with an older view list
	TombUnmasked     Name = "tomb-unmasked"     // a tombstone of a clone has no part in its row's mask
	ZeroesKept       Name = "zeroes-kept"       // zeroes that are decoded in a clone are no tombstone
	AbsentCopied     Name = "absent-copied"     // copies of a clone do not tell absent from tombstone
	MaskUnasked      Name = "mask-unasked"      // what a row of a clone decodes to hides the parent anyhow
	MaskUncompared   Name = "mask-uncompared"   // a parity of a clone that forgot a tombstone passes for right
	PartOverZeroes   Name = "part-over-zeroes"  // the rest of a block in a clone is zeroes, not the parent's
	FlattenSkips     Name = "flatten-skips"     // a flatten leaves out what it cannot copy now
	FlattenKept      Name = "flatten-kept"      // a flatten goes on behind a revert where it was
	SparseUnnoticed  Name = "sparse-unnoticed"  // an owner of a clone does not note that a page holds something
	PassedBehind     Name = "passed-behind"     // a clone is passed for blocks behind its parent's end
	PassedHeld       Name = "passed-held"       // a clone is passed for pages in which it holds something
	ParentUnlocked   Name = "parent-unlocked"   // a block is written while its parent is read
	CutOpen          Name = "cut-open"          // hosts may change what a shrink cuts off
	CutUnquiet       Name = "cut-unquiet"       // a cut does not wait for what hosts have under way
	CutUnlisted      Name = "cut-unlisted"      // pages that only the journal knows of are not looked at
	CutSkips         Name = "cut-skips"         // a cut leaves out what it cannot clear now
	CutEarly         Name = "cut-early"         // blocks count as cleared before they are
	ParentFailedZero Name = "parent-zeroes"     // what the parent does not give is zeroes
	UnitsByRows      Name = "units-by-rows"     // an open decides about the rows of a unit one by one
	SettledDecided   Name = "settled-decided"   // an open decides again what an earlier one has settled
	SettledForwarded Name = "settled-forwarded" // an open completes what an earlier one has found against
	SettledCovers    Name = "settled-covers"    // an alternate takes for stable what is not complete yet
	TailMasked       Name = "tail-masked"       // tombstones behind a packed unit of a clone hide the parent
	TailUnderlaid    Name = "tail-underlaid"    // the parent is read behind a packed unit of a clone
	TailCopied       Name = "tail-copied"       // tombstones behind a packed unit of a clone are not copied
	UnitsRemadeRow   Name = "units-remade-row"  // parities of a unit are made anew row by row
)

// Bugs of the page store, which its own crash tests must find: see PageStore.
const (
	DataUnverified    Name = "data-unverified"    // recovery trusts data whose write was in flight
	FlushSkipped      Name = "flush-skipped"      // a group is reported before the cache is flushed
	AckBeforeData     Name = "ack-before-data"    // a group is reported when its records are written
	AckOutOfOrder     Name = "ack-out-of-order"   // a group is reported before an older one is written
	ApplyEarly        Name = "apply-early"        // records free space before they are durable
	ReplaceIgnored    Name = "replace-ignored"    // replay does not know that a bad version was written again
	LogTailEarly      Name = "log-tail-early"     // the log is reused before a superblock gives it up
	LogTailHalf       Name = "log-tail-half"      // the log is reused when one superblock gives it up
	IncarnationUnread Name = "incarnation-unread" // log blocks of an earlier life are taken for this one's
	IncarnationKept   Name = "incarnation-kept"   // a mount goes on under the incarnation before
	PositionUnread    Name = "position-unread"    // log blocks of an earlier lap are taken for this one's
	SupersUnequal     Name = "supers-unequal"     // a mount leaves an old superblock beside the new one
	SuperInPlace      Name = "super-in-place"     // there is one superblock, written in place
	SuperUnflushed    Name = "super-unflushed"    // the second superblock is written before the first is durable
	RingUnflushed     Name = "ring-unflushed"     // a superblock names a checkpoint that is not durable
	ChangedUntold     Name = "changed-untold"     // a chunk that changes during a checkpoint is not in it
	EndUntold         Name = "end-untold"         // a checkpoint does not tell that a chunk is gone
	RoundCut          Name = "round-cut"          // the ring's tail moves before the round has ended
	LogNextLate       Name = "log-next-late"      // a checkpoint claims records that came while it was written
	OneCopy           Name = "one-copy"           // the second copy of the ring is not written
	RotKept           Name = "rot-kept"           // what one copy has lost is not written again
)

// PageStore lists the bugs of the page store.
func PageStore() []Name {
	return []Name{
		DataUnverified, FlushSkipped, AckBeforeData, AckOutOfOrder, ApplyEarly, ReplaceIgnored, LogTailEarly,
		LogTailHalf, IncarnationUnread, IncarnationKept, PositionUnread, SupersUnequal, SuperInPlace,
		SuperUnflushed, RingUnflushed, ChangedUntold, EndUntold, RoundCut, LogNextLate, OneCopy, RotKept,
	}
}

// All lists the bugs of the protocol, which the simulator must find.
func All() []Name {
	return append([]Name{
		// chunk servers
		SkipFence, ForgetFence, SettleIgnored, MarkOverEpochs, HoleIgnored, FreeUnstable, BadUncovers,
		OldResidency, KeepResidency, CreditIgnored, JournalForgets, UndoIgnored, AnswerTooSoon, GhostNewSession,
		// gateways and voters
		ServeUnrecorded, ServeUncleared, AnswerUnleased, FenceOneVoter, VoterForgets, LeaseFromArrival,
		FencesUnread, RecordUnchecked, LateUnmarked, HoldUnawaited, LentUnchecked, LentDropped,
		ReleaseServing,
	}, Engine()...)
}

// Engine lists the bugs of the engine: its stories notice them, too.
func Engine() []Name {
	return []Name{
		AckUncovered, EntryOfOne, SealForgotten, MemberLingers, AbsentCounted, StaleUnbounded,
		AlternateSkipped, EntryUnread, ResidencyReused, ResolveSkipped, ForwardAnyhow, BackAnyhow,
		RotUndone, JudgeSkipped, StableEarly, MaskForgotten, MergeUnlocked, ReadUnlocked, HeadUnchecked,
		MendUncopied, DropUnordered, OpenTooFew, MoveUnnoticed, CursorEarly, PinUnprotected, MarksUnread,
		ParityTrusted, ParityUnasked, MarkBeforeView, PinUncopied, PinUnjudged, ApprovedUndone,
		NumberUnchecked, SpareIgnored, ViewSentOnce, SpaceAskedOnce, OpenUnnumbered, ReturnUnnumbered,
		SweepUnnumbered, HoldUndrained, HoldUnspread, HiddenDecided, ReturnUnviewed,
		TombUncovered, WritesUnheld, PinOverlooked, RevertOverlooked,
		TombUnmasked, ZeroesKept, AbsentCopied, MaskUnasked, PartOverZeroes, ParentUnlocked,
		MaskUncompared, ParentFailedZero, FlattenSkips, FlattenKept, SparseUnnoticed,
		PassedBehind, PassedHeld,
		UnitsByRows, UnitsRemadeRow, TailMasked, TailUnderlaid, TailCopied,
		SettledDecided, SettledForwarded, SettledCovers,
		CutOpen, CutUnquiet, CutUnlisted, CutSkips, CutEarly,
	}
}

// Rare tells the bugs of the engine that take more luck than a thousand schedules have: stories notice them.
func Rare(n Name) bool {
	switch n {
	case DropUnordered, MemberLingers, MarksUnread, ParityTrusted, PinUncopied, PinUnjudged, ApprovedUndone,
		NumberUnchecked, SpareIgnored, RotUndone, SpaceAskedOnce, SweepUnnumbered, OpenUnnumbered, ReturnUnnumbered,
		HiddenDecided, ReturnUnviewed, WritesUnheld, TombUncovered, ZeroesKept, MaskUncompared, FlattenKept,
		UnitsRemadeRow, TailUnderlaid, SettledDecided, SettledForwarded, SettledCovers, CutUnlisted, CutSkips:
		return true
	}
	return false
}
