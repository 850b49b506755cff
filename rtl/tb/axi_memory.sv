// A memory channel for benches: an AXI4 slave with a latency, stalls drawn by a seeded generator on every handshake, and
// faults on demand. It asserts the rules of rtl/formal/axi_rules.sv on both sides. What it holds is `mem`.
`default_nettype none
module axi_memory #(
  parameter int unsigned AddrW = 64,
  parameter int unsigned Lines = 4096,
  parameter int unsigned BurstLines = 16,
  parameter int Seed = 1
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic [AddrW-1:0] base_i,
  input  int               stall_i,     // of 8 chances to move
  input  int               latency_i,   // cycles from a burst's address to its first answer; up to an eighth more are drawn
  input  int               fault_i,     // 0: none, 1: errors, 2: nothing moves, 3: last where it is not, 4: unasked answers
  input  logic             arvalid_i,
  output logic             arready_o,
  input  logic             arid_i,
  input  logic [AddrW-1:0] araddr_i,
  input  logic [7:0]       arlen_i,
  input  logic [2:0]       arsize_i,
  input  logic [1:0]       arburst_i,
  output logic             rvalid_o,
  input  logic             rready_i,
  output logic             rid_o,
  output logic [511:0]     rdata_o,
  output logic [1:0]       rresp_o,
  output logic             rlast_o,
  input  logic             awvalid_i,
  output logic             awready_o,
  input  logic             awid_i,
  input  logic [AddrW-1:0] awaddr_i,
  input  logic [7:0]       awlen_i,
  input  logic [2:0]       awsize_i,
  input  logic [1:0]       awburst_i,
  input  logic             wvalid_i,
  output logic             wready_o,
  input  logic [511:0]     wdata_i,
  input  logic [63:0]      wstrb_i,
  input  logic             wlast_i,
  output logic             bvalid_o,
  input  logic             bready_i,
  output logic             bid_o,
  output logic [1:0]       bresp_o,
  output logic [31:0]      reads_o,     // bursts under way
  output logic [31:0]      writes_o
);
  localparam int Room = 64;  // bursts
  logic [511:0] mem [0:Lines-1];

  int seed = Seed, now = 0;
  function automatic logic go();
    go = int'(tb_pkg::random(seed) % 8) >= stall_i && fault_i != 2;
  endfunction
  function automatic int later();
    later = now + latency_i + int'(tb_pkg::random(seed) % 32'(latency_i / 8 + 1));
  endfunction
  function automatic int line_of(input logic [AddrW-1:0] address, input logic [7:0] len);
    if (address < base_i || ((address - base_i) >> 6) + AddrW'(len) >= AddrW'(Lines))
      $fatal(1, "%h, %0d lines: outside of the channel", address, 32'(len) + 1);
    line_of = int'((address - base_i) >> 6);
  endfunction

  int r_line [0:Room-1], r_len [0:Room-1], r_at [0:Room-1], r_head = 0, r_count = 0, r_beat = 0;
  int w_line [0:Room-1], w_head = 0, w_count = 0, w_data_head = 0, w_data_count = 0, b_at [0:Room-1], b_head = 0, b_count = 0;
  logic [511:0] w_data [0:Room-1];
  logic [63:0]  w_strb [0:Room-1];
  logic         unasked;
  always @(posedge clk_i) begin
    now = now + 1;
    if (!rst_ni) begin
      {arready_o, rvalid_o, rid_o, rlast_o, awready_o, wready_o, bvalid_o, bid_o} <= '0;
      {r_count, r_beat, w_count, w_data_count, b_count} = '0;
    end else begin
      // Reads.
      if (arvalid_i && arready_o) begin
        r_line[(r_head + r_count) % Room] = line_of(araddr_i, arlen_i);
        r_len[(r_head + r_count) % Room]  = int'(arlen_i);
        r_at[(r_head + r_count) % Room]   = later();
        r_count++;
      end
      arready_o <= r_count < Room - 1 && go();
      if (!rvalid_o || rready_i) begin
        unasked = fault_i == 4 && r_count == 0;
        if ((r_count > 0 && now >= r_at[r_head] && go()) || unasked) begin
          rvalid_o <= 1'b1;
          rdata_o  <= mem[unasked ? 0 : r_line[r_head] + r_beat];
          rresp_o  <= fault_i == 1 ? 2'b10 : 2'b00;
          rlast_o  <= (r_beat == r_len[r_head]) != (fault_i == 3);
          if (!unasked) begin
            r_beat++;
            if (r_beat > r_len[r_head]) begin
              r_beat = 0;
              r_head = (r_head + 1) % Room;
              r_count--;
            end
          end
        end else rvalid_o <= 1'b0;
      end
      // Writes.
      if (awvalid_i && awready_o) begin
        w_line[(w_head + w_count) % Room] = line_of(awaddr_i, awlen_i);
        w_count++;
      end
      if (wvalid_i && wready_o) begin
        w_data[(w_data_head + w_data_count) % Room] = wdata_i;
        w_strb[(w_data_head + w_data_count) % Room] = wstrb_i;
        w_data_count++;
      end
      awready_o <= w_count < Room - 1 && b_count < Room - 2 && go();
      wready_o  <= w_data_count < Room - 1 && go();
      if (w_count > 0 && w_data_count > 0 && b_count < Room) begin
        for (int i = 0; i < 64; i++)
          if (w_strb[w_data_head][i]) mem[w_line[w_head]][i*8 +: 8] = w_data[w_data_head][i*8 +: 8];
        w_head      = (w_head + 1) % Room;
        w_data_head = (w_data_head + 1) % Room;
        w_count--;
        w_data_count--;
        b_at[(b_head + b_count) % Room] = later();
        b_count++;
      end
      if (!bvalid_o || bready_i) begin
        unasked = fault_i == 4 && b_count == 0;
        if ((b_count > 0 && now >= b_at[b_head] && go()) || unasked) begin
          bvalid_o <= 1'b1;
          bresp_o  <= fault_i == 1 ? 2'b11 : 2'b00;
          if (!unasked) begin
            b_head = (b_head + 1) % Room;
            b_count--;
          end
        end else bvalid_o <= 1'b0;
      end
    end
  end

  logic [4:0] rd_master, wr_master;
  logic [3:0] rd_memory;
  logic [2:0] wr_memory;
  axi_rd_rules #(.AddrW(AddrW), .BurstLines(BurstLines)) u_rd_rules (
      .clk_i, .rst_ni, .arvalid_i, .arready_i(arready_o), .arid_i, .araddr_i, .arlen_i, .arsize_i, .arburst_i,
      .rvalid_i(rvalid_o), .rready_i, .rid_i(rid_o), .rdata_i(rdata_o), .rresp_i(rresp_o), .rlast_i(rlast_o),
      .master_o(rd_master), .memory_o(rd_memory), .outstanding_o(reads_o));
  axi_wr_rules #(.AddrW(AddrW)) u_wr_rules (
      .clk_i, .rst_ni, .awvalid_i, .awready_i(awready_o), .awid_i, .awaddr_i, .awlen_i, .awsize_i, .awburst_i, .wvalid_i,
      .wready_i(wready_o), .wdata_i, .wstrb_i, .wlast_i, .bvalid_i(bvalid_o), .bready_i, .bid_i(bid_o),
      .bresp_i(bresp_o), .master_o(wr_master), .memory_o(wr_memory), .outstanding_o(writes_o));
  logic spoilt;  // answers that were not asked for upset what the rules count
  always @(posedge clk_i) begin
    spoilt <= rst_ni && (spoilt || fault_i > 2);
    if ({rd_master, wr_master} != '0) $fatal(1, "AXI rules broken by a master: reads %b, writes %b", rd_master, wr_master);
    if ({rd_memory, wr_memory} != '0 && !spoilt && fault_i <= 2)
      $fatal(1, "AXI rules broken by the memory: reads %b, writes %b", rd_memory, wr_memory);
  end
endmodule
`default_nettype wire
