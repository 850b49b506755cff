#include "axi_memory.hpp"

#include <cstring>

void AxiMemory::open(uint8_t *memory, uint64_t bytes, uint64_t base, const acc_rtl_timing &timing, uint64_t stream)
{
    memory_ = memory;
    bytes_ = bytes;
    base_ = base;
    timing_ = timing;
    state_ = timing.seed * 0x9e3779b97f4a7c15u + stream;
}

// splitmix64 (Steele et al. 2014).
bool AxiMemory::go()
{
    if (timing_.stall == 0) return true;
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return ((z ^ z >> 31) & 7) >= timing_.stall;
}

// Where a burst lies, ~0 if it is none that a channel answers: outside, not whole lines, across 4 KB.
uint64_t AxiMemory::place(uint64_t address, uint8_t len, uint8_t size, uint8_t burst) const
{
    const uint64_t n = (len + uint64_t{1}) * Line;
    if (size != 6 || burst != 1 || address % Line || address % 4096 + n > 4096) return ~uint64_t{0};
    if (address < base_ || address - base_ > bytes_ || n > bytes_ - (address - base_)) return ~uint64_t{0};
    return address - base_;
}

bool AxiMemory::take(const Master &m)
{
    const bool ar = m.arvalid && s_.arready, aw = m.awvalid && s_.awready, w = m.wvalid && s_.wready;
    const bool r = s_.rvalid && m.rready, b = s_.bvalid && m.bready;
    if (ar) reads_.push({place(m.araddr, m.arlen, m.arsize, m.arburst), now_ + timing_.latency, m.arlen + 1u});
    if (aw) writes_.push({place(m.awaddr, m.awlen, m.awsize, m.awburst), 0, m.awlen + 1u});
    if (w) {
        Data d;
        std::memcpy(d.bytes.data(), m.wdata, Line);
        d.strobes = m.wstrb;
        data_.push(d);
    }
    if (r) s_.rvalid = false;
    if (b) s_.bvalid = false;
    return ar || aw || w || r || b;
}

void AxiMemory::read()
{
    if (s_.rvalid || reads_.count == 0 || now_ < reads_.front().when || !go()) return;
    Burst &b = reads_.front();
    const bool there = b.at != ~uint64_t{0};
    s_.rvalid = true;
    if (there) std::memcpy(s_.rdata.data(), memory_ + b.at, Line); // stays, whatever is written meanwhile
    s_.rresp = there ? 0 : 2;                                      // SLVERR
    s_.rlast = --b.beats == 0;
    if (there) b.at += Line;
    if (s_.rlast) reads_.pop();
}

void AxiMemory::write()
{
    if (writes_.count && data_.count && answers_.count < Room) {
        Burst &b = writes_.front();
        const Data &d = data_.front();
        const bool there = b.at != ~uint64_t{0};
        for (uint32_t i = 0; there && i < Line; i++)
            if (d.strobes >> i & 1) memory_[b.at + i] = d.bytes[i];
        data_.pop();
        if (there) b.at += Line;
        if (--b.beats == 0) {
            answers_.push({b.at, now_ + timing_.latency, 0});
            writes_.pop();
        }
    }
    if (s_.bvalid || answers_.count == 0 || now_ < answers_.front().when || !go()) return;
    s_.bvalid = true;
    s_.bresp = answers_.front().at == ~uint64_t{0} ? 2 : 0;
    answers_.pop();
}

bool AxiMemory::clock(const Master &m)
{
    now_++;
    const bool moved = take(m);
    read();
    write();
    s_.arready = reads_.count < timing_.bursts && go();
    s_.awready = writes_.count + answers_.count < timing_.bursts && go();
    s_.wready = data_.count < Room && go();
    return moved;
}
