/* Registers of the 82599 that the driver uses; names and sections are those of the datasheet. */
#ifndef IXGBE_REGISTERS_H
#define IXGBE_REGISTERS_H

enum {
    CTRL = 0x0, STATUS = 0x8, CTRL_EXT = 0x18, EICR = 0x800, EIAC = 0x810, EIMS = 0x880, EIMC = 0x888, EIAM = 0x890,
    GPIE = 0x898, IVAR_MISC = 0xa00, RDRXCTL = 0x2f00, RXCTRL = 0x3000, HLREG0 = 0x4240, AUTOC = 0x42a0, LINKS = 0x42a4,
    MAXFRS = 0x4268, DMATXCTL = 0x4a80, RTTDCS = 0x4900, FCTRL = 0x5080, RXCSUM = 0x5000, MRQC = 0x5818, DTXMXSZRQ = 0x8100,
    EEC = 0x10010,
    CRCERRS = 0x4000, GPRC = 0x4074, GPTC = 0x4080, GORCL = 0x4088, GORCH = 0x408c, GOTCL = 0x4090, GOTCH = 0x4094,
    RUC = 0x40a4, RFC = 0x40a8, ROC = 0x40ac, RJC = 0x40b0,
};

#define RAL(n) (0x5400u + 8 * (n))
#define RAH(n) (0x5404u + 8 * (n))
#define EITR(n) (0x820u + 4 * (n))
#define IVAR(n) (0x900u + 4 * (n))
#define MPC(n) (0x3fa0u + 4 * (n))
#define RXPBSIZE(n) (0x3c00u + 4 * (n))
#define TXPBSIZE(n) (0xcc00u + 4 * (n))
#define RSSRK(n) (0x5c80u + 4 * (n))
#define RETA(n) (0x5c00u + 4 * (n))
#define RX_QUEUE(n) (0x1000u + 0x40 * (n))
#define TX_QUEUE(n) (0x6000u + 0x40 * (n))
#define QPRDC(n) (0x1430u + 0x40 * (n))

enum { /* of a queue */
    BASE_LOW = 0x0, BASE_HIGH = 0x4, LENGTH = 0x8, DCA = 0xc, HEAD = 0x10, SRRCTL = 0x14, TAIL = 0x18, CONTROL = 0x28,
};

#define CTRL_MASTER_DISABLE (1u << 2)
#define CTRL_LINK_RESET (1u << 3)
#define CTRL_RESET (1u << 26)
#define STATUS_MASTER_ENABLED (1u << 19)
#define CTRL_EXT_NO_SNOOP_DISABLE (1u << 16)
#define CTRL_EXT_DRIVER_LOADED (1u << 28)
#define EEC_AUTO_READ_DONE (1u << 9)
#define RDRXCTL_CRC_STRIP (1u << 1)
#define RDRXCTL_DMA_INIT_DONE (1u << 3)
#define HLREG0_TX_CRC (1u << 0)
#define HLREG0_RX_CRC_STRIP (1u << 1)
#define HLREG0_TX_PAD (1u << 10)
#define FCTRL_MULTICAST_ALL (1u << 8)
#define FCTRL_UNICAST_ALL (1u << 9)
#define FCTRL_BROADCAST (1u << 10)
#define QUEUE_ENABLE (1u << 25)
#define STRIP_TAG (1u << 30)
#define SRRCTL_ONE_BUFFER (1u << 25)
#define SRRCTL_DROP (1u << 28)
#define RTTDCS_ARBITER_OFF (1u << 6)
#define AUTOC_SERIAL_10G (3u << 13)
#define AUTOC_MODE_MASK (7u << 13)
#define AUTOC_PMA_10G_MASK (3u << 7)
#define AUTOC_RESTART (1u << 12)
#define LINKS_UP (1u << 30)
#define GPIE_MSIX (1u << 4)
#define GPIE_AUTO_MASK (1u << 30)
#define CAUSE_LINK (1u << 20)
#define CAUSES_OTHER 0x7fff0000u /* than queues: they have no vectors of their own */
#define IVAR_VALID 0x80u

/* Descriptors (7.1.6, 7.2.3). */
#define RX_DONE 1UL
#define RX_END 2UL
#define RX_ERROR (1UL << 29)
#define TX_DONE (1UL << 32)
#define TX_END (1UL << 24)
#define TX_FCS (1UL << 25)
#define TX_REPORT (1UL << 27)
#define TX_ADVANCED (1UL << 29)
#define TX_TAG (1UL << 30)
#define TX_DATA (3UL << 20)
#define TX_CONTEXT (2UL << 20)
#define TX_SUM_IP (1UL << 40)
#define TX_SUM_L4 (1UL << 41)
#define CONTEXT_IPV4 (1UL << 10)
#define CONTEXT_TCP (1UL << 11)

#endif
