// sum(a * b) of two head's vectors in the order of docs/numerics.md: a word a cycle, 42 cycles behind the last. Elements
// behind the vectors are 0 in one of them and finite in the other.
`default_nettype none
module acc_head_dot (
  input  logic         clk_i,
  input  logic         rst_ni,
  input  logic         start_i,
  input  logic [8:0]   n_i,     // constant until the end
  output logic         busy_o,
  output logic [3:0]   word_o,  // acc_head_turn
  input  logic [511:0] a_i,
  input  logic [511:0] b_i,
  output logic [31:0]  sum_o    // stands from the end until the next start
);
  localparam int unsigned Cycles = acc_fp_pkg::MulCycles;
  logic              busy_q, reading_q, sum_ready, sum_valid;
  logic [3:0]        word_q, last;
  logic [Cycles-1:0] valid_q, last_q;
  logic [511:0]      products;
  logic [31:0]       sum, sum_q;
  assign last   = 4'((n_i - 9'd1) >> 4);
  assign word_o = word_q;
  assign busy_o = busy_q;
  assign sum_o  = sum_q;

  for (genvar l = 0; l < 16; l++) begin : gen_lane
    acc_fp_mul u_mul (.clk_i, .a_i(a_i[l*32 +: 32]), .b_i(b_i[l*32 +: 32]), .y_o(products[l*32 +: 32]));
  end
  acc_fp_sum u_sum (.clk_i, .rst_ni, .in_valid_i(valid_q[Cycles-1]), .in_ready_o(sum_ready), .x_i(products),
                    .last_i(last_q[Cycles-1]), .out_valid_o(sum_valid), .out_ready_i(1'b1), .sum_o(sum));

  always_ff @(posedge clk_i) begin
    if (sum_valid) sum_q <= sum;
    last_q <= {last_q[Cycles-2:0], word_q == last};
    if (!rst_ni) begin
      busy_q    <= 1'b0;
      reading_q <= 1'b0;
      word_q    <= '0;
      valid_q   <= '0;
    end else begin
      valid_q <= {valid_q[Cycles-2:0], reading_q};
      if (start_i) begin
        busy_q    <= 1'b1;
        reading_q <= 1'b1;
        word_q    <= '0;
      end else begin
        word_q <= word_q + 4'(reading_q);
        if (word_q == last) reading_q <= 1'b0;
        if (sum_valid) busy_q <= 1'b0;
      end
    end
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni) valid_q[Cycles-1] |-> sum_ready);
`endif
endmodule
`default_nettype wire
