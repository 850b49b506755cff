// AXI4's rules as the masters here use it: id 0, whole lines, ascending bursts. A bit for each rule that is broken in this
// cycle, of the master and of the memory. The benches assert that there is none; proofs assume the memory's half.
`default_nettype none
module axi_rd_rules #(
  parameter int unsigned AddrW = 64,
  parameter int unsigned BurstLines = 16,
  parameter int unsigned Outstanding = 64  // more than the master has
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             arvalid_i,
  input  logic             arready_i,
  input  logic             arid_i,
  input  logic [AddrW-1:0] araddr_i,
  input  logic [7:0]       arlen_i,
  input  logic [2:0]       arsize_i,
  input  logic [1:0]       arburst_i,
  input  logic             rvalid_i,
  input  logic             rready_i,
  input  logic             rid_i,
  input  logic [511:0]     rdata_i,
  input  logic [1:0]       rresp_i,
  input  logic             rlast_i,
  output logic [4:0]       master_o,       // not held, size or kind, too long, across 4 KB, id
  output logic [3:0]       memory_o,       // not held, nothing was asked, last, id
  output logic [31:0]      outstanding_o   // bursts
);
  localparam int unsigned BurstW = $clog2(Outstanding);
  logic [7:0]      length [0:Outstanding-1];
  logic [BurstW:0] asked_q, answered_q;
  logic [7:0]      beat_q;
  logic            ar_broken, r_broken, due, last;
  assign due           = asked_q != answered_q;
  assign last          = beat_q == length[answered_q[BurstW-1:0]];
  assign outstanding_o = 32'((BurstW + 1)'(asked_q - answered_q));
  always_ff @(posedge clk_i) begin
    if (arvalid_i && arready_i) length[asked_q[BurstW-1:0]] <= arlen_i;
    if (!rst_ni) begin
      asked_q    <= '0;
      answered_q <= '0;
      beat_q     <= '0;
    end else begin
      asked_q <= asked_q + (BurstW + 1)'(arvalid_i && arready_i);
      if (rvalid_i && rready_i && due) begin
        answered_q <= answered_q + (BurstW + 1)'(last);
        beat_q     <= last ? 8'd0 : beat_q + 8'd1;
      end
    end
  end
  stream_rules #(.Width(AddrW + 14)) u_ar (.clk_i, .rst_ni, .valid_i(arvalid_i), .ready_i(arready_i),
                                           .data_i({arid_i, araddr_i, arlen_i, arsize_i, arburst_i}),
                                           .broken_o(ar_broken));
  stream_rules #(.Width(516)) u_r (.clk_i, .rst_ni, .valid_i(rvalid_i), .ready_i(rready_i),
                                   .data_i({rid_i, rdata_i, rresp_i, rlast_i}), .broken_o(r_broken));
  assign master_o = {arvalid_i && arid_i, arvalid_i && 8'(araddr_i[11:6]) + arlen_i > 8'd63,
                     arvalid_i && arlen_i >= 8'(BurstLines),
                     arvalid_i && (arsize_i != 3'd6 || arburst_i != 2'b01 || araddr_i[5:0] != '0), ar_broken} & {5{rst_ni}};
  assign memory_o = {rvalid_i && rid_i, rvalid_i && due && rlast_i != last, rvalid_i && !due, r_broken} & {4{rst_ni}};
endmodule

// Writes: bursts of one beat.
module axi_wr_rules #(
  parameter int unsigned AddrW = 64,
  parameter int unsigned Outstanding = 64  // more than the master has
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             awvalid_i,
  input  logic             awready_i,
  input  logic             awid_i,
  input  logic [AddrW-1:0] awaddr_i,
  input  logic [7:0]       awlen_i,
  input  logic [2:0]       awsize_i,
  input  logic [1:0]       awburst_i,
  input  logic             wvalid_i,
  input  logic             wready_i,
  input  logic [511:0]     wdata_i,
  input  logic [63:0]      wstrb_i,
  input  logic             wlast_i,
  input  logic             bvalid_i,
  input  logic             bready_i,
  input  logic             bid_i,
  input  logic [1:0]       bresp_i,
  output logic [4:0]       master_o,       // address not held, data not held, size or kind, length, id
  output logic [2:0]       memory_o,       // not held, nothing was asked, id
  output logic [31:0]      outstanding_o
);
  localparam int unsigned CountW = $clog2(Outstanding);
  logic [CountW:0] addresses_q, lines_q, answers_q;
  logic            aw_broken, w_broken, b_broken;
  assign outstanding_o = 32'((CountW + 1)'(addresses_q - answers_q));
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      addresses_q <= '0;
      lines_q     <= '0;
      answers_q   <= '0;
    end else begin
      addresses_q <= addresses_q + (CountW + 1)'(awvalid_i && awready_i);
      lines_q     <= lines_q + (CountW + 1)'(wvalid_i && wready_i);
      answers_q   <= answers_q + (CountW + 1)'(bvalid_i && bready_i);
    end
  end
  stream_rules #(.Width(AddrW + 14)) u_aw (.clk_i, .rst_ni, .valid_i(awvalid_i), .ready_i(awready_i),
                                           .data_i({awid_i, awaddr_i, awlen_i, awsize_i, awburst_i}),
                                           .broken_o(aw_broken));
  stream_rules #(.Width(577)) u_w (.clk_i, .rst_ni, .valid_i(wvalid_i), .ready_i(wready_i),
                                   .data_i({wdata_i, wstrb_i, wlast_i}), .broken_o(w_broken));
  stream_rules #(.Width(3)) u_b (.clk_i, .rst_ni, .valid_i(bvalid_i), .ready_i(bready_i), .data_i({bid_i, bresp_i}),
                                 .broken_o(b_broken));
  assign master_o = {awvalid_i && awid_i, (awvalid_i && awlen_i != '0) || (wvalid_i && !wlast_i),
                     awvalid_i && (awsize_i != 3'd6 || awburst_i != 2'b01 || awaddr_i[5:0] != '0), w_broken,
                     aw_broken} & {5{rst_ni}};
  assign memory_o = {bvalid_i && bid_i, bvalid_i && (answers_q == addresses_q || answers_q == lines_q), b_broken} &
                    {3{rst_ni}};
endmodule
`default_nettype wire
