// The sine of a phase in turns (docs/numerics.md, "RoPE"): a table of 1,025 values and straight lines between them. 11
// cycles, one every cycle.
`default_nettype none
module acc_sine (
  input  logic        clk_i,
  input  logic [63:0] phase_i,  // a turn is 2^64
  output logic [31:0] y_o
);
  // 1: fold into the first quarter. At its very end the place is 1024 and the fraction 0.
  logic [62:0] y;  // the lowest 28 bits count for nothing but the carry
  logic [10:0] place_q;
  logic [23:0] fraction_q;
  assign y = phase_i[62] ? {1'b1, 62'd0} - {1'b0, phase_i[61:0]} : {1'b0, phase_i[61:0]};

  // 2: look up. 2, 3: fraction to float, then its exponent.
  logic        end_q;  // place 1024, which the table does not hold: the sine is 1
  logic [31:0] low, rise, late_rise_q, whole, fraction, step;
  acc_sine_rom u_rom (.clk_i, .k_i(place_q[9:0]), .value_o(low), .rise_o(rise));
  acc_fp_from_int u_from_int (.clk_i, .x_i({8'd0, fraction_q}), .y_o(whole));
  assign fraction = whole == 32'd0 ? 32'd0 : {1'b0, whole[30:23] - 8'd24, whole[22:0]};

  // 4..7: multiply; 8..11: add.
  logic [5*32-1:0] late_low_q;
  logic [9:0]      negative_q;
  logic [31:0]     sum;
  acc_fp_mul u_mul (.clk_i, .a_i(late_rise_q), .b_i(fraction), .y_o(step));
  acc_fp_add u_add (.clk_i, .a_i(late_low_q[4*32 +: 32]), .b_i(step), .y_o(sum));

  logic sign_q;
  always_ff @(posedge clk_i) begin
    place_q     <= y[62:52];
    fraction_q  <= y[51:28];
    end_q       <= place_q[10];
    late_rise_q <= rise;
    late_low_q  <= {late_low_q[4*32-1:0], end_q ? 32'h3f800000 : low};
    {sign_q, negative_q} <= {negative_q, phase_i[63]};
  end
  assign y_o = {sum[31] ^ sign_q, sum[30:0]};
endmodule
`default_nettype wire
