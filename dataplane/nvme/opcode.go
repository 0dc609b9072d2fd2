package nvme

// Admin command opcodes (Base 5).
const (
	AdminDeleteIOSQ       uint8 = 0x00
	AdminCreateIOSQ       uint8 = 0x01
	AdminGetLogPage       uint8 = 0x02
	AdminDeleteIOCQ       uint8 = 0x04
	AdminCreateIOCQ       uint8 = 0x05
	AdminIdentify         uint8 = 0x06
	AdminAbort            uint8 = 0x08
	AdminSetFeatures      uint8 = 0x09
	AdminGetFeatures      uint8 = 0x0a
	AdminAsyncEvent       uint8 = 0x0c
	AdminNamespaceMgmt    uint8 = 0x0d
	AdminFirmwareCommit   uint8 = 0x10
	AdminFirmwareDownload uint8 = 0x11
	AdminDeviceSelfTest   uint8 = 0x14
	AdminNamespaceAttach  uint8 = 0x15
	AdminKeepAlive        uint8 = 0x18
	AdminFormatNVM        uint8 = 0x80
	AdminSecuritySend     uint8 = 0x81
	AdminSecurityReceive  uint8 = 0x82
	AdminSanitize         uint8 = 0x84
)

// I/O command opcodes (NVM 3.2, Base 7).
const (
	OpFlush             uint8 = 0x00
	OpWrite             uint8 = 0x01
	OpRead              uint8 = 0x02
	OpWriteUncorrect    uint8 = 0x04
	OpCompare           uint8 = 0x05
	OpWriteZeroes       uint8 = 0x08
	OpDSM               uint8 = 0x09 // Dataset Management
	OpVerify            uint8 = 0x0c
	OpReservationReg    uint8 = 0x0d
	OpReservationReport uint8 = 0x0e
	OpReservationAcq    uint8 = 0x11
	OpReservationRel    uint8 = 0x15
	OpCopy              uint8 = 0x19

	OpVendorFirst uint8 = 0x80 // the first opcode that means what its vendor says
)

// OpFabrics is the opcode of every fabrics command, on the admin queue and on I/O queues (Base 6).
const OpFabrics uint8 = 0x7f

// Fabrics command types (FCTYPE).
const (
	FabricsPropertySet uint8 = 0x00
	FabricsConnect     uint8 = 0x01
	FabricsPropertyGet uint8 = 0x04
	FabricsAuthSend    uint8 = 0x05
	FabricsAuthReceive uint8 = 0x06
	FabricsDisconnect  uint8 = 0x08
)

// Direction is where the data of a command goes: bits 1:0 of its opcode, or of FCTYPE for fabrics commands.
type Direction uint8

// Directions of a data transfer. Bidirectional commands do not exist in the command sets we speak.
const (
	NoData           Direction = 0
	HostToController Direction = 1 // like Write
	ControllerToHost Direction = 2 // like Read
	Bidirectional    Direction = 3
)
