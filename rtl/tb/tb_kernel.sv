// The top level with its memory channels: images of small models (golden_kernel.c) at 2 channels, with RTL_MORE at 1 and 4
// too, are loaded and run over AXI4-Lite as the driver does, token by token; after each all of memory, the best token and
// the error registers are the device model's. Memory is stalled by a seeded generator. Runs that fail are among them -
// infinite logits, a spoilt instruction, a memory that errs, one that is wedged -, each followed by one that works; and a
// program in which MM and ATT meet.
`default_nettype none
module tb_kernel (
  output logic done_o
);
  logic [2:0] done;
  kernel_rig #(.Id(0), .Channels(2)) u_two (.start_i(1'b1), .done_o(done[0]));
  if (tb_pkg::More > 1) begin : gen_more  // each takes as long to compile
    kernel_rig #(.Id(1), .Channels(1)) u_one (.start_i(done[0]), .done_o(done[1]));
    kernel_rig #(.Id(2), .Channels(4)) u_four (.start_i(done[1]), .done_o(done[2]));
  end else begin : gen_two
    assign done[2:1] = 2'b11;
  end
  initial begin
    done_o = 1'b0;
    wait (done == 3'b111);
    $display("ok kernel: %s", tb_pkg::More > 1 ? "1, 2 and 4 channels" : "2 channels");
    done_o = 1'b1;
  end
endmodule

module kernel_rig #(
  parameter int Id = 0,
  parameter int unsigned Channels = 1
) (
  input  logic start_i,
  output logic done_o
);
  import "DPI-C" function int golden_kernel_open(input int id, input int channels);
  import "DPI-C" function int golden_kernel_vocab();
  import "DPI-C" function void golden_kernel_line(input int channel, input int line, output bit [511:0] data);
  import "DPI-C" function int golden_kernel_register(input int offset);
  import "DPI-C" function void golden_kernel_spoil(input int at);
  import "DPI-C" function void golden_kernel_infinite();
  import "DPI-C" function void golden_kernel_overlap();
  import "DPI-C" function int golden_kernel_misplace(input int offset, input int value);
  import "DPI-C" function int golden_kernel_run(input int token, input int position, input int logits);

  localparam int unsigned Lines = 4096, Timeout = 1500;
  logic        clk = 1'b0, rst_n = 1'b0;
  int          stall = 0, latency = 20, fault = 0, seed = 90 + Id, lines = 0;
  logic        awvalid = 1'b0, awready, wvalid = 1'b0, wready, bvalid, bready = 1'b0, arvalid = 1'b0, arready, rvalid;
  logic        rready = 1'b0, interrupt;
  logic [7:0]  awaddr = '0, araddr = '0;
  logic [31:0] wdata = '0, rdata;
  logic [1:0]  bresp, rresp;
  always begin  // stands while the rig waits for others
    #5;
    if (start_i && !done_o) clk = !clk;
  end

  logic [Channels*64-1:0]  base, m_araddr, m_awaddr, m_wstrb;
  logic [Channels-1:0]     m_arvalid, m_arready, m_arid, m_rvalid, m_rready, m_rid, m_rlast, m_awvalid, m_awready, m_awid;
  logic [Channels-1:0]     m_wvalid, m_wready, m_wlast, m_bvalid, m_bready, m_bid;
  logic [Channels*8-1:0]   m_arlen, m_awlen;
  logic [Channels*3-1:0]   m_arsize, m_awsize;
  logic [Channels*2-1:0]   m_arburst, m_awburst, m_rresp, m_bresp;
  logic [Channels*512-1:0] m_rdata, m_wdata;
  acc_kernel #(.Channels(Channels), .Lines(Lines), .Timeout(Timeout)) u_kernel (
      .clk_i(clk), .rst_ni(rst_n), .axil_awvalid_i(awvalid), .axil_awready_o(awready), .axil_awaddr_i(awaddr),
      .axil_wvalid_i(wvalid), .axil_wready_o(wready), .axil_wdata_i(wdata), .axil_wstrb_i(4'hf), .axil_bvalid_o(bvalid),
      .axil_bready_i(bready), .axil_bresp_o(bresp), .axil_arvalid_i(arvalid), .axil_arready_o(arready),
      .axil_araddr_i(araddr), .axil_rvalid_o(rvalid), .axil_rready_i(rready), .axil_rdata_o(rdata), .axil_rresp_o(rresp),
      .interrupt_o(interrupt), .base_i(base), .axi_arvalid_o(m_arvalid), .axi_arready_i(m_arready), .axi_arid_o(m_arid),
      .axi_araddr_o(m_araddr), .axi_arlen_o(m_arlen), .axi_arsize_o(m_arsize), .axi_arburst_o(m_arburst),
      .axi_rvalid_i(m_rvalid), .axi_rready_o(m_rready), .axi_rid_i(m_rid), .axi_rdata_i(m_rdata), .axi_rresp_i(m_rresp),
      .axi_rlast_i(m_rlast), .axi_awvalid_o(m_awvalid), .axi_awready_i(m_awready), .axi_awid_o(m_awid),
      .axi_awaddr_o(m_awaddr), .axi_awlen_o(m_awlen), .axi_awsize_o(m_awsize), .axi_awburst_o(m_awburst),
      .axi_wvalid_o(m_wvalid), .axi_wready_i(m_wready), .axi_wdata_o(m_wdata), .axi_wstrb_o(m_wstrb), .axi_wlast_o(m_wlast),
      .axi_bvalid_i(m_bvalid), .axi_bready_o(m_bready), .axi_bid_i(m_bid), .axi_bresp_i(m_bresp));

  event load, compare;
  for (genvar c = 0; c < Channels; c++) begin : gen_channel
    assign base[c*64 +: 64] = 64'h1_0000_3000 * 64'(c + 1);
    axi_memory #(.Lines(Lines), .Seed(10 * Id + c)) u_memory (
        .clk_i(clk), .rst_ni(rst_n), .base_i(base[c*64 +: 64]), .stall_i(stall), .latency_i(latency),
        .fault_i(c == int'(Channels) / 2 ? fault : 0), .arvalid_i(m_arvalid[c]), .arready_o(m_arready[c]),
        .arid_i(m_arid[c]), .araddr_i(m_araddr[c*64 +: 64]), .arlen_i(m_arlen[c*8 +: 8]), .arsize_i(m_arsize[c*3 +: 3]),
        .arburst_i(m_arburst[c*2 +: 2]), .rvalid_o(m_rvalid[c]), .rready_i(m_rready[c]), .rid_o(m_rid[c]),
        .rdata_o(m_rdata[c*512 +: 512]), .rresp_o(m_rresp[c*2 +: 2]), .rlast_o(m_rlast[c]), .awvalid_i(m_awvalid[c]),
        .awready_o(m_awready[c]), .awid_i(m_awid[c]), .awaddr_i(m_awaddr[c*64 +: 64]), .awlen_i(m_awlen[c*8 +: 8]),
        .awsize_i(m_awsize[c*3 +: 3]), .awburst_i(m_awburst[c*2 +: 2]), .wvalid_i(m_wvalid[c]), .wready_o(m_wready[c]),
        .wdata_i(m_wdata[c*512 +: 512]), .wstrb_i(m_wstrb[c*64 +: 64]), .wlast_i(m_wlast[c]), .bvalid_o(m_bvalid[c]),
        .bready_i(m_bready[c]), .bid_o(m_bid[c]), .bresp_o(m_bresp[c*2 +: 2]), .reads_o(), .writes_o());
    bit [511:0] line;
    always @(load) begin
      for (int i = 0; i < lines; i++) begin
        golden_kernel_line(c, i, line);
        u_memory.mem[i] = line;
      end
    end
    always @(compare) begin
      for (int i = 0; i < lines; i++) begin
        golden_kernel_line(c, i, line);
        if (u_memory.mem[i] != line)
          $fatal(1, "%0d channels: line %0d of channel %0d: %h, not %h", Channels, i, c, u_memory.mem[i], line);
      end
    end
  end

  // Clocks that never stop (acc_gate).
  logic open = 1'b0;
`ifndef MUTANTS  // in netlists they have other names
  for (genvar c = 0; c < Channels; c++) begin : gen_open
    always @(open) begin
      u_kernel.u_mm.gen_channel[c].u_engine.u_gate_lanes.open = open;
      u_kernel.u_mm.gen_channel[c].u_engine.u_gate_dense.open = open;
    end
  end
  always @(open) begin
    u_kernel.u_gate_mm.open          = open;
    u_kernel.u_gate_vec.open         = open;
    u_kernel.u_cache.u_gate_kvw.open = open;
    u_kernel.u_cache.u_gate_att.open = open;
  end
`endif

  // MM and ATT wait for each other's multipliers.
  int held_mm = 0, held_att = 0;
  always @(posedge clk) begin
    if (u_kernel.cmd_valid[0] && u_kernel.lent) held_mm++;
    if (u_kernel.cmd_valid[1] && !u_kernel.lent && u_kernel.mm_busy) held_att++;
    if (u_kernel.lent && u_kernel.mm_busy) $fatal(1, "MM and ATT are at work together");
  end

  // ---- the register bus ----

  task automatic set(input logic [7:0] address, input logic [31:0] value);
    {awaddr, wdata, awvalid, wvalid} = {address, value, 2'b11};
    #1;
    while (!(awready && wready)) begin
      @(negedge clk);
      #1;
    end
    @(negedge clk);
    {awvalid, wvalid, bready} = 3'b001;
    #1;
    while (!bvalid) begin
      @(negedge clk);
      #1;
    end
    @(negedge clk) bready = 1'b0;
  endtask
  task automatic get(input logic [7:0] address, output logic [31:0] value);
    {araddr, arvalid} = {address, 1'b1};
    #1;
    while (!arready) begin
      @(negedge clk);
      #1;
    end
    @(negedge clk);
    {arvalid, rready} = 2'b01;
    #1;
    while (!rvalid) begin
      @(negedge clk);
      #1;
    end
    value = rdata;
    @(negedge clk) rready = 1'b0;
  endtask
  task automatic expect_of(input logic [7:0] address, input int want);
    logic [31:0] value;
    get(address, value);
    if (value != want) $fatal(1, "%0d channels: register %h is %h, not %h", Channels, address, value, want);
  endtask

  // ---- runs ----

  int cycles, stopping, place;
  // A token as the device model's registers have it; ends with the interrupt.
  task automatic run();
    for (int r = int'(acc_pkg::RegToken); r <= int'(acc_pkg::RegWantLogits); r += 4)
      set(8'(r), golden_kernel_register(r));
    set(acc_pkg::RegControl, 32'd1);
    cycles = 0;
    while (!interrupt) begin
      @(negedge clk);
      cycles++;
      if (cycles > 200000) $fatal(1, "%0d channels: a run stands still", Channels);
    end
    set(acc_pkg::RegIrqStatus, 32'd1);
    expect_of(acc_pkg::RegControl, 14);
  endtask
  // As the device model has just done.
  task automatic again(input int error);
    run();
    for (int r = int'(acc_pkg::RegError); r <= int'(acc_pkg::RegErrorChannel); r += 4)
      expect_of(8'(r), golden_kernel_register(r));
    expect_of(acc_pkg::RegBestToken, golden_kernel_register(int'(acc_pkg::RegBestToken)));
    -> compare;
    $display("# %0d channels, %0d of 8 stalled, position %0d: error %0d, %0d cycles", Channels, stall,
             golden_kernel_register(int'(acc_pkg::RegPositionLow)), error, cycles);
    @(negedge clk);
  endtask
  task automatic token(input int id, input int position, input int logits);
    again(golden_kernel_run(id, position, logits));
  endtask
  // A place beyond its ring is refused, whichever bit says so.
  task automatic misplaced(input logic [7:0] offset, input int value);
    int error;
    error = golden_kernel_misplace(int'(offset), value);
    if (error != int'(acc_pkg::ErrorBadField)) $fatal(1, "register %h at %0d: error %0d", offset, value, error);
    again(error);
  endtask
  task automatic some_token(input int position, input int logits);
    token(int'(tb_pkg::random(seed) % 32'(golden_kernel_vocab())), position, logits);
  endtask
  // The memory's own errors, which the device model does not know; then the same token without.
  task automatic faulty(input int kind, input acc_pkg::error_e want, input int position);
    int id;
    id = int'(tb_pkg::random(seed) % 32'(golden_kernel_vocab()));
    void'(golden_kernel_run(id, position, 1));
    fork
      begin
        repeat (300 + int'(tb_pkg::random(seed) % 2000)) @(negedge clk);
        fault = kind;
      end
    join_none
    run();
    $display("# %0d channels, fault %0d: %0d cycles", Channels, kind, cycles);
    expect_of(acc_pkg::RegError, int'(want));
    expect_of(acc_pkg::RegErrorChannel, int'(Channels) / 2);
    fault = 0;
    repeat (200) @(negedge clk);
    token(id, position, 1);
  endtask

  initial begin
    done_o = 1'b0;
    wait (start_i);
    lines = golden_kernel_open(Id, int'(Channels));
    if (lines > int'(Lines)) $fatal(1, "an image of %0d lines", lines);
    -> load;
    repeat (3) @(negedge clk);
    rst_n = 1'b1;
    expect_of(acc_pkg::RegCapChannels, int'(Channels));
    set(acc_pkg::RegIrqGlobal, 32'd1);
    set(acc_pkg::RegIrqEnable, 32'd1);
    for (int r = int'(acc_pkg::RegHeads); r <= int'(acc_pkg::RegNormEpsilon); r += 4) set(8'(r), golden_kernel_register(r));
    golden_kernel_infinite();
    -> load;
    some_token(0, 1);
    golden_kernel_infinite();
    golden_kernel_spoil(3);
    -> load;
    some_token(1, 1);
    golden_kernel_spoil(3);
    -> load;
    stall = 4;
    some_token(1, 1);
    stall = 1;
    faulty(1, acc_pkg::ErrorMemory, 2);
    faulty(2, acc_pkg::ErrorTimeout, 37);
    place = golden_kernel_register(int'(acc_pkg::RegRingPage));
    misplaced(acc_pkg::RegRingPage, golden_kernel_register(int'(acc_pkg::RegRingPages)));
    for (int k = 9; k < 32; k += 11) misplaced(acc_pkg::RegRingPage, place | 1 << k);
    some_token(38, 0);
    if (golden_kernel_register(int'(acc_pkg::RegNear)) != 0) begin
      misplaced(acc_pkg::RegNearSlot, golden_kernel_register(int'(acc_pkg::RegNearPositions)));
      misplaced(acc_pkg::RegNearSlot, 1 << 9);
    end
    // Clocks that stop change nothing, not even the cycles; the first of three like tokens leaves all as the next find it.
    stall   = 0;
    latency = 7;  // below 8 always the same
    token(5, 38, 1);
    token(5, 38, 1);
    stopping = cycles;
    open = 1'b1;
    token(5, 38, 1);
    open = 1'b0;
    if (cycles != stopping) $fatal(1, "%0d cycles, %0d with clocks that never stop", stopping, cycles);
    stall   = 1;
    latency = 20;
    golden_kernel_overlap();
    -> load;
    some_token(39, 1);
    if (held_mm == 0 || held_att == 0) $fatal(1, "MM waited for %0d cycles, ATT for %0d", held_mm, held_att);
    done_o = 1'b1;
  end
endmodule
`default_nettype wire
