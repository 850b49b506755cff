// A memory channel of the Verilated accelerator: an AXI4 slave of 512 bits over the host's memory, one id, answers in
// order, a beat a cycle after a fixed latency. Handshakes are held up by a generator with a seed where that is asked
// for.
#pragma once
#include <array>
#include <cstdint>

#include "accel/rtl_plugin.h"

class AxiMemory
{
  public:
    // What the accelerator drives; data are its ports' own words.
    struct Master {
        bool arvalid, rready, awvalid, wvalid, bready;
        uint64_t araddr, awaddr, wstrb;
        uint8_t arlen, arsize, arburst, awlen, awsize, awburst;
        const uint8_t *wdata;
    };
    struct Slave {
        bool arready = false, rvalid = false, rlast = false, awready = false, wready = false, bvalid = false;
        uint8_t rresp = 0, bresp = 0;
        std::array<uint8_t, ACC_ISA_LINE_BYTES> rdata{};
    };

    void open(uint8_t *memory, uint64_t bytes, uint64_t base, const acc_rtl_timing &timing, uint64_t stream);
    // A rising edge: takes what was on the bus and decides what is there after it. True if anything moved.
    bool clock(const Master &m);
    const Slave &out() const
    {
        return s_;
    }

  private:
    static constexpr uint32_t Room = 64;
    static constexpr uint64_t Line = ACC_ISA_LINE_BYTES;
    struct Burst {
        uint64_t at, when; // byte of the memory, ~0: not there; cycle of its first answer
        uint32_t beats;
    };
    template <typename T> struct Queue {
        std::array<T, Room> entry;
        uint32_t first = 0, count = 0;
        T &front()
        {
            return entry[first];
        }
        void push(const T &x)
        {
            entry[(first + count++) % Room] = x;
        }
        void pop()
        {
            first = (first + 1) % Room, count--;
        }
    };
    struct Data {
        std::array<uint8_t, Line> bytes;
        uint64_t strobes;
    };

    bool go();
    uint64_t place(uint64_t address, uint8_t len, uint8_t size, uint8_t burst) const;
    bool take(const Master &m);
    void read();
    void write();

    uint8_t *memory_ = nullptr;
    uint64_t bytes_ = 0, base_ = 0, state_ = 0, now_ = 0;
    acc_rtl_timing timing_{};
    Slave s_;
    Queue<Burst> reads_, writes_;
    Queue<Data> data_;
    Queue<Burst> answers_;
};
