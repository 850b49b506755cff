// The logistic function by its table (docs/numerics.md, "SiLU, residual, output"); 15 cycles, one every cycle.
`default_nettype none
module acc_sigmoid (
  input  logic        clk_i,
  input  logic [31:0] x_i,
  output logic [31:0] y_o
);
  localparam logic [31:0] Sixteen = 32'h41800000;
  localparam logic [31:0] One = 32'h3f800000;

  // Beyond the table, for as long as the way through it takes.
  logic [14:0] below_q, above_q;  // 0, 1
  always_ff @(posedge clk_i) begin
    below_q <= {below_q[13:0], acc_fp_pkg::greater({1'b1, Sixteen[30:0]}, x_i)};
    above_q <= {above_q[13:0], !acc_fp_pkg::greater(Sixteen, x_i)};  // and NaN
  end

  // 1 to 4: x + 16, a multiple of 2^-20. 5: (x + 16) * 32 with 15 bits of fraction; 1024 itself by rounding.
  logic [31:0] moved;
  logic [25:0] fixed_q;
  acc_fp_add u_move (.clk_i, .a_i(x_i), .b_i(Sixteen), .y_o(moved));
  always_ff @(posedge clk_i) fixed_q <= {acc_fp_pkg::mantissa(moved), 2'd0} >> (8'd132 - moved[30:23]);

  // 6, 7: the step's beginning and rise; the fraction as a float.
  logic [9:0]  index;
  logic [15:0] fraction;
  logic [31:0] start, rise, as_float, part;
  assign index    = fixed_q[25] ? 10'd1023 : fixed_q[24:15];
  assign fraction = fixed_q[25] ? 16'h8000 : {1'b0, fixed_q[14:0]};
  acc_fp_from_int u_from_int (.clk_i, .x_i({16'd0, fraction}), .y_o(as_float));
  assign part = as_float == 32'd0 ? 32'd0 : {as_float[31], as_float[30:23] - 8'd15, as_float[22:0]};
  acc_sigmoid_rom u_rom (.clk_i, .k_i(index), .value_o(start), .rise_o(rise));

  // 8 to 11: the part of the rise; 12 to 15: added.
  logic [31:0] risen, start11, sum;
  acc_fp_mul u_rise (.clk_i, .a_i(rise), .b_i(part), .y_o(risen));
  acc_delay #(.Width(32), .Cycles(acc_fp_pkg::MulCycles)) u_start (.clk_i, .x_i(start), .x_o(start11));
  acc_fp_add u_add (.clk_i, .a_i(start11), .b_i(risen), .y_o(sum));
  assign y_o = below_q[14] ? 32'd0 : above_q[14] ? One : sum;
endmodule
`default_nettype wire
