package nvme

import "fmt"

// Status is the status field of a completion without the phase tag (Base 4.2.3):
//
//	 14    13     12:11   10:8   7:0
//	+-----+------+-------+------+----+
//	| DNR | More | CRD   | SCT  | SC |
//	+-----+------+-------+------+----+
//
// The zero value is success. Status implements error; use Err to turn success into nil.
type Status uint16

// Modifiers of a status.
const (
	DNR       Status = 0x4000 // Do Not Retry: the same command will fail again, on every path
	More      Status = 0x2000 // the Error Information log page has more
	CRDMask   Status = 0x1800 // Command Retry Delay: 0 none, 1..3 = CRDT1..3 of Identify Controller
	codeMask  Status = 0x07ff
	typeMask  Status = 0x0700
	typeShift        = 8
)

// Status code types (SCT).
const (
	TypeGeneric         = 0
	TypeCommandSpecific = 1
	TypeMedia           = 2
	TypePath            = 3
	TypeVendor          = 7
)

// Generic command status (SCT 0).
const (
	Success                        Status = 0x000
	InvalidOpcode                  Status = 0x001
	InvalidField                   Status = 0x002
	CommandIDConflict              Status = 0x003
	DataTransferError              Status = 0x004
	AbortedPowerLoss               Status = 0x005
	InternalError                  Status = 0x006
	AbortRequested                 Status = 0x007
	AbortedSQDeletion              Status = 0x008
	AbortedFailedFused             Status = 0x009
	AbortedMissingFused            Status = 0x00a
	InvalidNamespaceOrFormat       Status = 0x00b
	CommandSequenceError           Status = 0x00c
	InvalidSGLSegmentDescriptor    Status = 0x00d
	InvalidNumberOfSGLDescriptors  Status = 0x00e
	DataSGLLengthInvalid           Status = 0x00f
	MetadataSGLLengthInvalid       Status = 0x010
	SGLDescriptorTypeInvalid       Status = 0x011
	AtomicWriteUnitExceeded        Status = 0x014
	OperationDenied                Status = 0x015
	SGLOffsetInvalid               Status = 0x016
	HostIDInconsistentFormat       Status = 0x018
	KeepAliveTimerExpired          Status = 0x019
	KeepAliveTimeoutInvalid        Status = 0x01a
	AbortedPreempt                 Status = 0x01b
	SanitizeFailed                 Status = 0x01c
	SanitizeInProgress             Status = 0x01d
	SGLDataBlockGranularityInvalid Status = 0x01e
	NamespaceWriteProtected        Status = 0x020
	CommandInterrupted             Status = 0x021
	TransientTransportError        Status = 0x022
	ProhibitedByLockdown           Status = 0x023
	AdminCommandMediaNotReady      Status = 0x024
	LBAOutOfRange                  Status = 0x080
	CapacityExceeded               Status = 0x081
	NamespaceNotReady              Status = 0x082
	ReservationConflict            Status = 0x083
	FormatInProgress               Status = 0x084
)

// Command specific status (SCT 1). Codes from 80h on mean different things for fabrics and for I/O commands.
const (
	CompletionQueueInvalid         Status = 0x100
	InvalidQueueIdentifier         Status = 0x101
	InvalidQueueSize               Status = 0x102
	AbortCommandLimitExceeded      Status = 0x103
	AsyncEventRequestLimitExceeded Status = 0x105
	InvalidLogPage                 Status = 0x109
	InvalidFormat                  Status = 0x10a
	InvalidQueueDeletion           Status = 0x10c
	FeatureNotSaveable             Status = 0x10d
	FeatureNotChangeable           Status = 0x10e
	FeatureNotNamespaceSpecific    Status = 0x10f
	InvalidControllerIdentifier    Status = 0x11f
	IOCommandSetNotSupported       Status = 0x129
	IOCommandSetNotEnabled         Status = 0x12a
	IOCommandSetCombinationReject  Status = 0x12b
	InvalidIOCommandSet            Status = 0x12c

	ConnectIncompatibleFormat Status = 0x180 // fabrics
	ConnectControllerBusy     Status = 0x181
	ConnectInvalidParameters  Status = 0x182
	ConnectRestartDiscovery   Status = 0x183
	ConnectInvalidHost        Status = 0x184
	InvalidQueueType          Status = 0x185
	DiscoverRestart           Status = 0x190
	AuthenticationRequired    Status = 0x191

	ConflictingAttributes    Status = 0x180 // NVM command set
	InvalidProtectionInfo    Status = 0x181
	WriteToReadOnlyRange     Status = 0x182
	CommandSizeLimitExceeded Status = 0x183
)

// Media and data integrity errors (SCT 2).
const (
	WriteFault                 Status = 0x280
	UnrecoveredReadError       Status = 0x281
	EndToEndGuardCheckError    Status = 0x282
	EndToEndAppTagCheckError   Status = 0x283
	EndToEndRefTagCheckError   Status = 0x284
	CompareFailure             Status = 0x285
	AccessDenied               Status = 0x286
	DeallocatedOrUnwritten     Status = 0x287
	EndToEndStorageTagMismatch Status = 0x288
)

// Path related status (SCT 3): the command may succeed on another path.
const (
	InternalPathError            Status = 0x300
	AsymmetricAccessPersistent   Status = 0x301 // Asymmetric Access Persistent Loss
	AsymmetricAccessInaccessible Status = 0x302
	AsymmetricAccessTransition   Status = 0x303
	ControllerPathingError       Status = 0x360
	HostPathingError             Status = 0x370 // made by the host: the connection was lost or timed out
	CommandAbortedByHost         Status = 0x371
)

// Type returns the status code type (SCT).
func (s Status) Type() uint8 { return uint8(s & typeMask >> typeShift) }

// Code returns SCT<<8|SC, without DNR, More and CRD: the form of the constants of this package.
func (s Status) Code() Status { return s & codeMask }

// OK reports success.
func (s Status) OK() bool { return s&codeMask == 0 }

// NoRetry returns s with Do Not Retry set.
func (s Status) NoRetry() Status { return s | DNR }

// MayRetry reports whether the same command may succeed later or elsewhere (DNR is clear).
func (s Status) MayRetry() bool { return s&DNR == 0 }

// IsPath reports a path related status: try another path (what Linux calls a path error).
func (s Status) IsPath() bool { return s.Type() == TypePath }

// IsANA reports that the path's namespace is not accessible just now (Base 8.1): the ANA log page tells more.
func (s Status) IsANA() bool {
	switch s.Code() {
	case AsymmetricAccessPersistent, AsymmetricAccessInaccessible, AsymmetricAccessTransition:
		return true
	}
	return false
}

// Err returns nil for success and s itself otherwise.
func (s Status) Err() error {
	if s.OK() {
		return nil
	}
	return s
}

// Error gives the words of the specification and the number.
func (s Status) Error() string {
	dnr := ""
	if s&DNR != 0 {
		dnr = ", do not retry"
	}
	return fmt.Sprintf("nvme status %03Xh: %s%s", uint16(s.Code()), s.text(), dnr)
}

func (s Status) text() string {
	switch s.Type() {
	case TypeGeneric:
		return genericText(s.Code())
	case TypeCommandSpecific:
		return commandText(s.Code())
	case TypeMedia:
		return mediaText(s.Code())
	case TypePath:
		return pathText(s.Code())
	case TypeVendor:
		return "vendor specific"
	}
	return "reserved status code type"
}

func genericText(s Status) string {
	texts := [...]string{
		Success: "successful completion", InvalidOpcode: "invalid command opcode",
		InvalidField: "invalid field in command", CommandIDConflict: "command id conflict",
		DataTransferError: "data transfer error", AbortedPowerLoss: "aborted due to power loss",
		InternalError: "internal error", AbortRequested: "command abort requested",
		AbortedSQDeletion: "aborted due to SQ deletion", AbortedFailedFused: "aborted due to failed fused command",
		AbortedMissingFused:            "aborted due to missing fused command",
		InvalidNamespaceOrFormat:       "invalid namespace or format",
		CommandSequenceError:           "command sequence error",
		InvalidSGLSegmentDescriptor:    "invalid SGL segment descriptor",
		InvalidNumberOfSGLDescriptors:  "invalid number of SGL descriptors",
		DataSGLLengthInvalid:           "data SGL length invalid",
		MetadataSGLLengthInvalid:       "metadata SGL length invalid",
		SGLDescriptorTypeInvalid:       "SGL descriptor type invalid",
		AtomicWriteUnitExceeded:        "atomic write unit exceeded",
		OperationDenied:                "operation denied",
		SGLOffsetInvalid:               "SGL offset invalid",
		HostIDInconsistentFormat:       "host identifier inconsistent format",
		KeepAliveTimerExpired:          "keep alive timer expired",
		KeepAliveTimeoutInvalid:        "keep alive timeout invalid",
		AbortedPreempt:                 "aborted due to preempt and abort",
		SanitizeFailed:                 "sanitize failed",
		SanitizeInProgress:             "sanitize in progress",
		SGLDataBlockGranularityInvalid: "SGL data block granularity invalid",
		NamespaceWriteProtected:        "namespace is write protected",
		CommandInterrupted:             "command interrupted",
		TransientTransportError:        "transient transport error",
		ProhibitedByLockdown:           "command prohibited by lockdown",
		AdminCommandMediaNotReady:      "admin command media not ready",
		LBAOutOfRange:                  "LBA out of range", CapacityExceeded: "capacity exceeded",
		NamespaceNotReady: "namespace not ready", ReservationConflict: "reservation conflict",
		FormatInProgress: "format in progress",
	}
	if int(s) < len(texts) && texts[s] != "" {
		return texts[s]
	}
	return "generic command status"
}

func commandText(s Status) string {
	switch s {
	case CompletionQueueInvalid:
		return "completion queue invalid"
	case InvalidQueueIdentifier:
		return "invalid queue identifier"
	case InvalidQueueSize:
		return "invalid queue size"
	case AbortCommandLimitExceeded:
		return "abort command limit exceeded"
	case AsyncEventRequestLimitExceeded:
		return "asynchronous event request limit exceeded"
	case InvalidLogPage:
		return "invalid log page"
	case InvalidFormat:
		return "invalid format"
	case FeatureNotSaveable:
		return "feature identifier not saveable"
	case FeatureNotChangeable:
		return "feature not changeable"
	case FeatureNotNamespaceSpecific:
		return "feature not namespace specific"
	case InvalidControllerIdentifier:
		return "invalid controller identifier"
	case IOCommandSetNotSupported, IOCommandSetNotEnabled, IOCommandSetCombinationReject, InvalidIOCommandSet:
		return "I/O command set not available"
	case ConnectIncompatibleFormat:
		return "connect incompatible format, or conflicting attributes"
	case ConnectControllerBusy:
		return "connect controller busy, or invalid protection information"
	case ConnectInvalidParameters:
		return "connect invalid parameters, or write to read only range"
	case ConnectRestartDiscovery:
		return "connect restart discovery, or command size limit exceeded"
	case ConnectInvalidHost:
		return "connect invalid host"
	case InvalidQueueType:
		return "invalid queue type"
	case DiscoverRestart:
		return "discover restart"
	case AuthenticationRequired:
		return "authentication required"
	}
	return "command specific status"
}

func mediaText(s Status) string {
	switch s {
	case WriteFault:
		return "write fault"
	case UnrecoveredReadError:
		return "unrecovered read error"
	case EndToEndGuardCheckError, EndToEndAppTagCheckError, EndToEndRefTagCheckError, EndToEndStorageTagMismatch:
		return "end-to-end check error"
	case CompareFailure:
		return "compare failure"
	case AccessDenied:
		return "access denied"
	case DeallocatedOrUnwritten:
		return "deallocated or unwritten logical block"
	}
	return "media error"
}

func pathText(s Status) string {
	switch s {
	case InternalPathError:
		return "internal path error"
	case AsymmetricAccessPersistent:
		return "asymmetric access persistent loss"
	case AsymmetricAccessInaccessible:
		return "asymmetric access inaccessible"
	case AsymmetricAccessTransition:
		return "asymmetric access transition"
	case ControllerPathingError:
		return "controller pathing error"
	case HostPathingError:
		return "host pathing error"
	case CommandAbortedByHost:
		return "command aborted by host"
	}
	return "path related status"
}
