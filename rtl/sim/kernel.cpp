// The Verilated acc_kernel behind src/accel/rtl_plugin.h: its clock, the memory channels, a master for its registers,
// and what co-simulation sees inside of it (rtl/sim/kernel.vlt says what that is).
//
// Ports are seen as little-endian bytes: a packed vector of Verilator's is an integer or an array of 32-bit words, and
// channel c's part of it begins at a whole byte.
#include <cstring>
#include <memory>
#include <new>

#include "Vkernel.h"
#include "Vkernel___024root.h"
#include "axi_memory.hpp"
#include "verilated.h"

#ifndef CHANNELS
#error "CHANNELS: memory channels of the kernel"
#endif

namespace
{

constexpr uint64_t Base = uint64_t{1} << 32; // channel c's line 0 is at (c + 1) times this
constexpr int Patience = 1000;               // cycles for a register
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "ports are seen as bytes");

template <typename T, typename Port> T part(const Port &port, uint32_t c)
{
    T x;
    std::memcpy(&x, reinterpret_cast<const uint8_t *>(&port) + c * sizeof x, sizeof x);
    return x;
}

template <typename Port> bool bit(const Port &port, uint32_t c)
{
    return port >> c & 1;
}

} // namespace

struct acc_rtl {
    VerilatedContext context;
    std::unique_ptr<Vkernel> top;
    AxiMemory memory[CHANNELS];
    uint64_t cycles = 0, moved = 0;
    acc_rtl_view ends{}; // of the last cycle: ended, pc, round

    explicit acc_rtl()
    {
        top = std::make_unique<Vkernel>(&context);
    }

    AxiMemory::Master master(uint32_t c) const
    {
        AxiMemory::Master m;
        m.arvalid = bit(top->axi_arvalid_o, c);
        m.araddr = part<uint64_t>(top->axi_araddr_o, c);
        m.arlen = part<uint8_t>(top->axi_arlen_o, c);
        m.arsize = top->axi_arsize_o >> 3 * c & 7;
        m.arburst = top->axi_arburst_o >> 2 * c & 3;
        m.rready = bit(top->axi_rready_o, c);
        m.awvalid = bit(top->axi_awvalid_o, c);
        m.awaddr = part<uint64_t>(top->axi_awaddr_o, c);
        m.awlen = part<uint8_t>(top->axi_awlen_o, c);
        m.awsize = top->axi_awsize_o >> 3 * c & 7;
        m.awburst = top->axi_awburst_o >> 2 * c & 3;
        m.wvalid = bit(top->axi_wvalid_o, c);
        m.wstrb = part<uint64_t>(top->axi_wstrb_o, c);
        m.wdata = reinterpret_cast<const uint8_t *>(&top->axi_wdata_o) + c * ACC_ISA_LINE_BYTES;
        m.bready = bit(top->axi_bready_o, c);
        return m;
    }

    void answer()
    {
        uint32_t arready = 0, rvalid = 0, rlast = 0, rresp = 0, awready = 0, wready = 0, bvalid = 0, bresp = 0;
        for (uint32_t c = 0; c < CHANNELS; c++) {
            const AxiMemory::Slave &s = memory[c].out();
            arready |= uint32_t{s.arready} << c;
            rvalid |= uint32_t{s.rvalid} << c;
            rlast |= uint32_t{s.rlast} << c;
            rresp |= uint32_t{s.rresp} << 2 * c;
            awready |= uint32_t{s.awready} << c;
            wready |= uint32_t{s.wready} << c;
            bvalid |= uint32_t{s.bvalid} << c;
            bresp |= uint32_t{s.bresp} << 2 * c;
            if (s.rvalid)
                std::memcpy(reinterpret_cast<uint8_t *>(&top->axi_rdata_i) + c * ACC_ISA_LINE_BYTES, s.rdata.data(),
                            ACC_ISA_LINE_BYTES);
        }
        top->axi_arready_i = arready;
        top->axi_rvalid_i = rvalid;
        top->axi_rlast_i = rlast;
        top->axi_rresp_i = rresp;
        top->axi_awready_i = awready;
        top->axi_wready_i = wready;
        top->axi_bvalid_i = bvalid;
        top->axi_bresp_i = bresp;
    }

    // A cycle: the edge with the inputs as they are, then the inputs that follow, and what is combinational settles.
    void clock()
    {
        bool any = false;
        for (uint32_t c = 0; c < CHANNELS; c++) any = memory[c].clock(master(c)) || any;
        top->clk_i = 1;
        top->eval();
        answer();
        top->clk_i = 0;
        top->eval();
        cycles++;
        if (any) moved = cycles;
    }

    void reset()
    {
        for (uint32_t c = 0; c < CHANNELS; c++) {
            const uint64_t base = (c + 1) * Base;
            std::memcpy(reinterpret_cast<uint8_t *>(&top->base_i) + c * sizeof base, &base, sizeof base);
        }
        top->rst_ni = 0;
        top->axil_bready_i = 1;
        top->axil_rready_i = 1;
        top->clk_i = 0;
        top->eval();
        for (int i = 0; i < 32; i++) clock();
        top->rst_ni = 1;
        clock();
    }

    bool get(uint32_t address, uint32_t *value)
    {
        top->axil_arvalid_i = 1;
        top->axil_araddr_i = address;
        top->eval();
        for (int i = 0; i < Patience; i++) {
            const bool taken = top->axil_arvalid_i && top->axil_arready_o;
            clock();
            if (taken) top->axil_arvalid_i = 0;
            top->eval();
            if (!top->axil_rvalid_o) continue;
            *value = top->axil_rdata_o;
            clock();
            return true;
        }
        top->axil_arvalid_i = 0;
        return false;
    }

    bool set(uint32_t address, uint32_t value)
    {
        top->axil_awvalid_i = 1;
        top->axil_wvalid_i = 1;
        top->axil_awaddr_i = address;
        top->axil_wdata_i = value;
        top->axil_wstrb_i = 0xf;
        top->eval();
        for (int i = 0; i < Patience; i++) {
            const bool address_taken = top->axil_awvalid_i && top->axil_awready_o;
            const bool data_taken = top->axil_wvalid_i && top->axil_wready_o;
            clock();
            if (address_taken) top->axil_awvalid_i = 0;
            if (data_taken) top->axil_wvalid_i = 0;
            top->eval();
            if (!top->axil_bvalid_o) continue;
            clock();
            return true;
        }
        top->axil_awvalid_i = top->axil_wvalid_i = 0;
        return false;
    }

    // True if instructions end with the next edge.
    bool ending()
    {
        const auto &in = *top->rootp;
        const uint32_t ended = in.acc_kernel__DOT__u_seq__DOT__retired;
        if (ended == 0) return false;
        for (uint32_t q = 0; q < ACC_QUEUE_COUNT; q++) {
            ends.ended[q] = bit(ended, q);
            ends.pc[q] = in.acc_kernel__DOT__u_seq__DOT__head_pc >> 13 * q & 0x1fff;
            ends.round[q] = in.acc_kernel__DOT__u_seq__DOT__head_round >> 16 * q & 0xffff;
        }
        return true;
    }

    acc_rtl_stop run(uint64_t limit, bool retired)
    {
        for (uint64_t i = 0; i < limit; i++) {
            const bool end = retired && ending();
            clock();
            if (end) return ACC_RTL_RETIRED;
            if (top->interrupt_o) {
                (void)set(ACC_REG_IRQ_STATUS, 1);
                return ACC_RTL_DONE;
            }
        }
        return ACC_RTL_CYCLES;
    }

    void look(acc_rtl_view *v) const;
};

// Lane l of the vector memory holds element l of every word of 16.
#define LANE(l)                                                                                       \
    for (uint32_t i = 0; i < sizeof v->vmem / sizeof *v->vmem / 16; i++) {                            \
        const uint32_t x = in.acc_kernel__DOT__u_vmem__DOT__gen_lane__BRA__##l##__KET____DOT__mem[i]; \
        std::memcpy(&v->vmem[16 * i + l], &x, sizeof x);                                              \
    }

void acc_rtl::look(acc_rtl_view *v) const
{
    const auto &in = *top->rootp;
    *v = ends;
    v->quiet = in.acc_kernel__DOT__u_seq__DOT__running_q == 0;
    LANE(0);
    LANE(1);
    LANE(2);
    LANE(3);
    LANE(4);
    LANE(5);
    LANE(6);
    LANE(7);
    LANE(8);
    LANE(9);
    LANE(10);
    LANE(11);
    LANE(12);
    LANE(13);
    LANE(14);
    LANE(15);
    for (uint32_t i = 0; i < ACC_ISA_CODES_MAX / 16; i++)
        std::memcpy(v->codes + 16 * i, &in.acc_kernel__DOT__u_codes__DOT__mem[i], 16);
    std::memcpy(&v->scale, &in.acc_kernel__DOT__u_codes__DOT__scale_q, sizeof v->scale);
}

namespace
{

acc_rtl *open(uint8_t *memory, uint64_t bytes, const acc_rtl_timing *timing)
{
    auto *r = new (std::nothrow) acc_rtl;
    if (!r) return nullptr;
    for (uint32_t c = 0; c < CHANNELS; c++) r->memory[c].open(memory + c * bytes, bytes, (c + 1) * Base, *timing, c);
    r->reset();
    if (r->set(ACC_REG_IRQ_GLOBAL, 1) && r->set(ACC_REG_IRQ_ENABLE, 1)) return r;
    delete r;
    return nullptr;
}

} // namespace

const acc_rtl_plugin acc_rtl_plugin_table = {
    ACC_RTL_VERSION,
    CHANNELS,
    open,
    [](acc_rtl *r) { delete r; },
    [](acc_rtl *r, uint32_t address, uint32_t *value) { return r->get(address, value); },
    [](acc_rtl *r, uint32_t address, uint32_t value) { return r->set(address, value); },
    [](acc_rtl *r, uint64_t limit, bool retired) { return r->run(limit, retired); },
    [](const acc_rtl *r) { return r->cycles; },
    [](const acc_rtl *r) { return r->moved; },
    [](const acc_rtl *r, acc_rtl_view *view) { r->look(view); },
};
