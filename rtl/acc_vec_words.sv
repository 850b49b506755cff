// A vector out of the vector memory as a stream of words, or two vectors whose blocks take turns: a word of the one,
// then the same word of the other. Eight words at most are on their way or waiting.
`default_nettype none
module acc_vec_words #(
  localparam int unsigned AddrW = $clog2(acc_pkg::VmemBlocks * 4)
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             start_i,   // only when every word has been taken
  input  logic [AddrW-3:0] block_i,   // where it begins
  input  logic [AddrW-2:0] count_i,   // words, or pairs of them; at least 1
  input  logic             pairs_i,
  input  logic             hold_i,    // no new word or pair is asked for
  output logic [AddrW-2:0] asked_o,   // words or pairs so far
  output logic             r_valid_o,
  input  logic             r_ready_i,
  output logic [AddrW-1:0] r_addr_o,
  input  logic             q_valid_i,
  input  logic [511:0]     q_data_i,
  output logic             out_valid_o,
  input  logic             out_ready_i,
  output logic [511:0]     out_data_o
);
  logic             pairs_q, second_q, asked, fifo_ready;
  logic [AddrW-3:0] block_q;
  logic [AddrW-2:0] left_q, asked_q;
  logic [3:0]       held_q;
  assign asked     = r_valid_o && r_ready_i;
  assign asked_o   = asked_q;
  assign r_valid_o = left_q != '0 && !held_q[3] && (second_q || !hold_i);
  assign r_addr_o  = {block_q + (pairs_q ? {asked_q[AddrW-2:2], second_q} : {1'b0, asked_q[AddrW-2:2]}), asked_q[1:0]};
  acc_fifo #(.Width(512), .Depth(8)) u_fifo (.clk_i, .rst_ni, .in_valid_i(q_valid_i), .in_ready_o(fifo_ready),
                                             .in_data_i(q_data_i), .out_valid_o, .out_ready_i, .out_data_o);

  always_ff @(posedge clk_i) begin
    if (start_i) {pairs_q, block_q} <= {pairs_i, block_i};
    if (!rst_ni) begin
      second_q <= 1'b0;
      left_q   <= '0;
      asked_q  <= '0;
      held_q   <= '0;
    end else begin
      held_q <= held_q + 4'(asked) - 4'(out_valid_o && out_ready_i);
      if (start_i) begin
        left_q  <= count_i;
        asked_q <= '0;
      end else if (asked) begin
        second_q <= pairs_q && !second_q;
        if (!pairs_q || second_q) begin
          left_q  <= left_q - (AddrW - 1)'(1);
          asked_q <= asked_q + (AddrW - 1)'(1);
        end
      end
    end
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni) q_valid_i |-> fifo_ready);
  assert property (@(posedge clk_i) disable iff (!rst_ni)
                   r_valid_o && !r_ready_i && (second_q || !hold_i) |=> $stable(r_addr_o));
`endif
endmodule
`default_nettype wire
