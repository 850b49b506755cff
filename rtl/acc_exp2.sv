// The exponential of attention (docs/numerics.md, "Attention", steps 2 and 6): of d = 65536 log2 of the result, d <= 0
// or NaN, the weight e of a position and the factor E of a segment. Six cycles, one every cycle.
`default_nettype none
module acc_exp2 (
  input  logic        clk_i,
  input  logic [31:0] d_i,
  output logic [15:0] weight_o,  // 0 below -16 * 65536 and of NaN
  output logic [31:0] factor_o   // float: 0 below -60 * 65536 and of NaN
);
  localparam logic [31:0] WeightLeast = 32'hc9800000;  // -16 * 65536
  localparam logic [31:0] FactorLeast = 32'hca700000;  // -60 * 65536

  // 1, 2: the nearest integer: n in bits 31..16, i in 15..10, f in 9..0.
  logic [31:0] v;
  logic [4:0]  no_weight_q, no_factor_q;
  acc_fp_to_int u_to_int (.clk_i, .x_i(d_i), .y_o(v));

  // 3: look up; 4: the part of the step; 5: m.
  logic [15:0] low3_q, low4_q;
  logic [9:0]  step3_q, f3_q;
  logic [9:0]  rise4_q;
  logic [6:0]  shift3_q, shift4_q, shift5_q;  // -n
  logic [16:0] m5_q;

  // 6: scale.
  logic [17:0] doubled, weight;
  logic [15:0] weight_q;
  logic [31:0] factor_q;
  assign doubled = {m5_q, 1'b0} + ((18'd1 << shift5_q[4:0]) >> 1);
  assign weight  = doubled >> shift5_q[4:0];

  always_ff @(posedge clk_i) begin
    no_weight_q <= {no_weight_q[3:0], acc_fp_pkg::is_nan(d_i) || acc_fp_pkg::greater(WeightLeast, d_i)};
    no_factor_q <= {no_factor_q[3:0], acc_fp_pkg::is_nan(d_i) || acc_fp_pkg::greater(FactorLeast, d_i)};

    low3_q   <= acc_tables_pkg::exp2(v[15:10]);
    step3_q  <= acc_tables_pkg::exp2_step(v[15:10]);
    f3_q     <= v[9:0];
    shift3_q <= 7'(16'd0 - v[31:16]);

    low4_q   <= low3_q;
    rise4_q  <= 10'((20'(step3_q) * 20'(f3_q) + 20'd512) >> 10);
    shift4_q <= shift3_q;

    m5_q     <= 17'(low4_q) + 17'(rise4_q);
    shift5_q <= shift4_q;

    weight_q <= no_weight_q[4] ? 16'd0 : weight > 18'd65535 ? 16'hffff : weight[15:0];
    factor_q <= no_factor_q[4] ? 32'd0 : {1'b0, 8'd142 + 8'(m5_q[16]) - 8'(shift5_q), m5_q[16] ? 23'd0 : {m5_q[14:0], 8'd0}};
  end
  assign weight_o = weight_q;
  assign factor_o = factor_q;
endmodule
`default_nettype wire
