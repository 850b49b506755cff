// acc_axi_rd with bursts of two lines: whatever the units, the memory and flushes do, it keeps AXI's rules, nothing beyond
// the channel is read, idle means idle, and an answer that is wrong is noticed. Without a flush every line that was asked
// for is read once and in order: lines are numbered in the order of requests, and any one of them may be the one watched.
`default_nettype none
module axi_reader_proof (
  input  logic       clk_i,
  input  logic       flush_i,
  input  logic       rq_valid_i,
  input  logic [6:0] rq_line_i,
  input  logic [2:0] rq_count_i,
  input  logic       rd_ready_i,
  input  logic       arready_i,
  input  logic       rvalid_i,
  input  logic       rdata_i,
  input  logic [1:0] rresp_i,
  input  logic       rlast_i,
  input  logic [4:0] watched_i,
  output logic       legal_o,  // the memory keeps its rules, the watched number stays
  output logic       ok_o,
  output logic       seen_o    // the watched line has come
);
  localparam int unsigned Lines = 100;
  logic begun_q = 1'b0;  // the first cycle is the reset
  always_ff @(posedge clk_i) begun_q <= 1'b1;

  logic         rq_ready, rd_valid, idle, wedged, arvalid, arid, rready;
  logic [511:0] rd_data;
  logic [3:0]   error;
  logic [15:0]  araddr;
  logic [7:0]   arlen;
  logic [2:0]   arsize;
  logic [1:0]   arburst;
  acc_axi_rd #(.AddrW(16), .BurstLines(2), .Outstanding(2), .Timeout(3)) u_rd (
      .clk_i, .rst_ni(begun_q), .base_i(16'd0), .lines_i(24'(Lines)), .flush_i, .rq_valid_i, .rq_ready_o(rq_ready),
      .rq_line_i({17'd0, rq_line_i}), .rq_count_i({13'd0, rq_count_i}), .rd_valid_o(rd_valid), .rd_ready_i,
      .rd_data_o(rd_data), .idle_o(idle), .error_o(error), .wedged_o(wedged), .axi_arvalid_o(arvalid),
      .axi_arready_i(arready_i), .axi_arid_o(arid), .axi_araddr_o(araddr), .axi_arlen_o(arlen), .axi_arsize_o(arsize),
      .axi_arburst_o(arburst), .axi_rvalid_i(rvalid_i), .axi_rready_o(rready), .axi_rid_i(1'b0),
      .axi_rdata_i({511'd0, rdata_i}), .axi_rresp_i(rresp_i), .axi_rlast_i(rlast_i));

  logic [4:0]  master;
  logic [3:0]  memory;
  logic [31:0] outstanding;
  axi_rd_rules #(.AddrW(16), .BurstLines(2), .Outstanding(4)) u_rules (
      .clk_i, .rst_ni(begun_q), .arvalid_i(arvalid), .arready_i, .arid_i(arid), .araddr_i(araddr), .arlen_i(arlen),
      .arsize_i(arsize), .arburst_i(arburst), .rvalid_i, .rready_i(rready), .rid_i(1'b0), .rdata_i({511'd0, rdata_i}),
      .rresp_i, .rlast_i, .master_o(master), .memory_o(memory), .outstanding_o(outstanding));

  // Numbers of the next line to be requested, asked for on the bus, and handed on.
  logic [5:0] requested_q, asked_q, given_q;
  logic [4:0] watched_q;
  logic [6:0] line_q;
  logic       flushed_q, wrong_q, request, ask, give, beyond, covered;
  logic [5:0] into, into_burst;  // where the watched line is in the request, in the burst
  assign into       = 6'(watched_i) - requested_q;
  assign into_burst = 6'(watched_i) - asked_q;
  assign request    = rq_valid_i && rq_ready;
  assign beyond     = 8'(rq_line_i) + 8'(rq_count_i) > 8'(Lines);
  assign ask        = arvalid && arready_i;
  assign give       = rd_valid && rd_ready_i;
  assign covered    = request && !beyond && 6'(watched_i) >= requested_q && into < 6'(rq_count_i);
  always_ff @(posedge clk_i) begin
    watched_q <= watched_i;
    if (!begun_q) begin
      {requested_q, asked_q, given_q} <= '0;
      {flushed_q, wrong_q, seen_o}    <= '0;
    end else begin
      if (request && !beyond) requested_q <= requested_q + 6'(rq_count_i);
      if (ask) asked_q <= asked_q + arlen[5:0] + 6'd1;
      if (give) given_q <= given_q + 6'd1;
      if (covered) line_q <= rq_line_i + 7'(into);
      flushed_q <= flushed_q || flush_i;
      wrong_q   <= rvalid_i && rready && rresp_i != 2'b00;
      seen_o    <= seen_o || (give && given_q == 6'(watched_i));
    end
  end

  logic in_order;
  assign in_order = asked_q <= requested_q && given_q <= asked_q && (!rd_valid || given_q != asked_q) &&
                    (!ask || 6'(watched_i) < asked_q || into_burst > arlen[5:0] ||
                     (6'(watched_i) < requested_q && araddr == 16'(7'(line_q - 7'(into_burst))) << 6));
  assign legal_o  = !begun_q || (memory == '0 && watched_i == watched_q && !requested_q[5]);
  assign ok_o     = !begun_q || (master == '0 && (flushed_q || in_order) && rd_data[0] == rdata_i &&
                                 (!arvalid || (araddr >> 6) + 16'(arlen) < 16'(Lines)) &&
                                 (!idle || (outstanding == '0 && !arvalid)) && (!wrong_q || error != '0));
endmodule
`default_nettype wire
