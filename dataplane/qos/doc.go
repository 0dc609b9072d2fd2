// Package qos decides when the commands of hosts may begin, so that volumes and pools keep to their limits. A
// host that wants more gets slower, never an error.
//
// Contract: a [Scheduler] stands for what one gateway serves of one pool, a [Flow] for one volume. Commands
// are queued with Submit, in order of each volume; Ready gives out those that may begin now; Next says when
// to ask again. Time is a number of nanoseconds that never goes back. Nothing is allocated in steady state,
// and nothing here has a lock or a clock.
//
// Limits. A rate is a meter (the generic cell rate algorithm): each command moves the meter's hand by what it
// takes at the rate, and may begin as long as the hand is not more than the burst ahead of now. So a command
// larger than the burst begins too, and is paid for afterwards; remainders are carried, so the rate is exact
// over time. A command counts as one operation, and with its bytes where there is a limit on bytes.
//
//	         begins: hand <= now + burst                 waits until now = hand - burst
//	---------+--------------+---------|------>      ---------+---------------------+-----|--->
//	        now           hand    now + burst               now            now + burst  hand
//
// Fairness. When the pool's meter is what holds commands back, volumes whose own limits allow more take turns
// by start-time fair queueing: next is the one that has had least of the pool's time, and one that was idle
// cannot save up for later. All volumes weigh the same, whatever the size of their commands.
package qos
