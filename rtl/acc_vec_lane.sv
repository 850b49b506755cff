// One lane of the vector unit: two multiplications, one behind the other, and what their operands are in each pass.
//
//   pass      first product p         second product w           gives
//   MEASURE   x * g                   x * x, beside p            size, w
//   CODE      x * g                   p * (127 / M)              w as a code
//   GATE      gate * sigmoid(gate)    p * up                     size, w
//   EXPAND    float(code * m) * row scale                        w = p
//   GAIN      x * g                                              w = p
//
// MEASURE and CODE take x * 1 where there is no g. Cycles: p stands 4 after the operands (GATE and EXPAND: 19), w 4
// after p (MEASURE: with p), the code 3 after w.
`default_nettype none
module acc_vec_lane (
  input  logic        clk_i,
  input  logic        measure_i,
  input  logic        code_i,
  input  logic        gate_i,
  input  logic        expand_i,
  input  logic        gain_i,      // there is a g
  input  logic        zero_i,      // every code is 0
  input  logic [31:0] inverse_i,   // 127 / M
  input  logic [31:0] row_scale_i,
  input  logic [31:0] x_i,         // EXPAND: code in bits 7..0, m in 15..8
  input  logic [31:0] y_i,         // g, up
  output logic [30:0] size_o,      // without the sign: of p, in GATE of w
  output logic [31:0] w_o,
  output logic [7:0]  code_o
);
  localparam logic [31:0] One = 32'h3f800000;
  localparam int unsigned Front = 15;  // of the sigmoid

  logic [31:0] x_late, up, sigmoid, a, b, c, d, p, as_float, rounded;
  logic [15:0] packed_code;
  logic [16:0] scaled_q;
  acc_sigmoid u_sigmoid (.clk_i, .x_i, .y_o(sigmoid));
  acc_delay #(.Width(32), .Cycles(Front)) u_late (.clk_i, .x_i, .x_o(x_late));
  acc_delay #(.Width(32), .Cycles(Front + acc_fp_pkg::MulCycles)) u_up (.clk_i, .x_i(y_i), .x_o(up));

  // The integer is as late as the sigmoid.
  acc_delay #(.Width(16), .Cycles(Front - acc_fp_pkg::FromIntCycles - 1)) u_code (
      .clk_i, .x_i(x_i[15:0]), .x_o(packed_code));
  always_ff @(posedge clk_i) scaled_q <= 17'(signed'(packed_code[7:0])) * 17'(signed'({1'b0, packed_code[15:8]}));
  acc_fp_from_int u_from_int (.clk_i, .x_i(32'(signed'(scaled_q))), .y_o(as_float));

  assign a = expand_i ? as_float : gate_i ? x_late : x_i;
  assign b = expand_i ? row_scale_i : gate_i ? sigmoid : gain_i ? y_i : One;
  assign c = measure_i ? x_i : p;
  assign d = measure_i ? x_i : gate_i ? up : code_i ? inverse_i : One;
  acc_fp_mul u_first (.clk_i, .a_i(a), .b_i(b), .y_o(p));
  acc_fp_mul u_second (.clk_i, .a_i(c), .b_i(d), .y_o(w_o));

  assign size_o = gate_i ? w_o[30:0] : p[30:0];

  acc_fp_to_int u_to_int (.clk_i, .x_i(w_o), .y_o(rounded));
  logic [7:0] code_q;
  always_ff @(posedge clk_i) begin
    if (zero_i) code_q <= 8'd0;
    else if (signed'(rounded) > 32'sd127) code_q <= 8'd127;
    else if (signed'(rounded) < -32'sd127) code_q <= 8'h81;
    else code_q <= rounded[7:0];
  end
  assign code_o = code_q;
endmodule
`default_nettype wire
