// Quotient and rest of whole numbers, a bit of the quotient a cycle: both stand from done_o on until the next start, 20
// cycles after theirs.
`default_nettype none
module acc_udiv (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        start_i,
  input  logic [18:0] a_i,
  input  logic [10:0] b_i,    // not 0; constant until done
  output logic        done_o, // no division is running
  output logic [18:0] quotient_o,
  output logic [10:0] rest_o
);
  logic [4:0]  left_q;
  logic [18:0] quotient_q;  // what is left of a above, quotient below
  logic [10:0] rest_q;
  logic [11:0] next;
  assign next       = {rest_q, quotient_q[18]};
  assign done_o     = left_q == 5'd0;
  assign quotient_o = quotient_q;
  assign rest_o     = rest_q;

  always_ff @(posedge clk_i) begin
    if (start_i) begin
      quotient_q <= a_i;
      rest_q     <= '0;
    end else if (!done_o) begin
      quotient_q <= {quotient_q[17:0], next >= {1'b0, b_i}};
      rest_q     <= next >= {1'b0, b_i} ? 11'(next - {1'b0, b_i}) : next[10:0];
    end
    if (!rst_ni) left_q <= '0;
    else if (start_i) left_q <= 5'd19;
    else if (!done_o) left_q <= left_q - 5'd1;
  end
endmodule
`default_nettype wire
