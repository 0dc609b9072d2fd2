// Package lease decides how long a gateway may answer hosts: voters keep fences and grant leases, gateways
// hold them. It is pure: the shells bring time (nanoseconds of a monotonic clock of their own machine),
// messages and durability.
//
// A gateway renews with every voter; a renewal counts from the moment it was sent. While a majority of voters
// has granted one that has not run out, the gateway may answer hosts for every volume it owns. Whoever takes
// a volume over has its fence (volume, owner epoch) stored durably by a majority of voters first, and answers
// hosts only one full [Duration] after that. Why no two gateways answer for one volume at the same time:
//
//	A renewal that ends after the take-over's fence reached its majority shares a voter with that majority.
//	Either this voter answered the renewal before it stored the fence: then the renewal was sent before the
//	fence was complete and runs out less than Duration later. Or it answered after: then the answer carries
//	the fence, and the gateway gives the volume up before it counts the renewal.
//
// The same argument allows to wait for less than Duration. Any lease that is valid later rests on a renewal
// that a voter of the fence's majority answered before it stored the fence. So each of them tells, with the
// fence, how long it had not heard of the former owner: Duration counts from the latest of these moments
// ([Clear]). Of a gateway that hangs, most of the lease has run out by the time it is missed.
//
// Voters keep no leases, only fences: a voter that restarts loses nothing that matters. Clocks of different
// machines are never compared; [Margin] covers their drift while a lease runs.
package lease
