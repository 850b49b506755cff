// Steps 2 and 3 of attention (docs/numerics.md), and w and B of step 4: out of each score the exponential e and the weight
// e * vscale, which takes the score's place; their sum L and the largest weight B. For each block comes the line of its
// values' scales. Four positions a cycle, 21 cycles behind.
`default_nettype none
module acc_attn_weights (
  input  logic         clk_i,
  input  logic         rst_ni,
  input  logic         clear_i,       // before a segment's first line
  input  logic [31:0]  max_i,         // these are constant from there on
  input  logic [3:0]   low_i,         // acc_attn_scores
  input  logic [12:0]  high_i,
  output logic         idle_o,
  input  logic         line_valid_i,
  output logic         line_ready_o,
  input  logic [511:0] line_i,
  output logic [9:0]   r_word_o,      // acc_attn_mem
  input  logic [127:0] r_data_i,
  output logic         w_valid_o,
  output logic [9:0]   w_word_o,
  output logic [127:0] w_data_o,
  output logic [31:0]  sum_o,         // L
  output logic [31:0]  top_o          // B
);
  localparam logic [31:0] Log2e = 32'h47b8aa3b;  // 65536 log2 e
  localparam int unsigned Exp = 1 + acc_fp_pkg::AddCycles + acc_fp_pkg::MulCycles + 6;  // until e stands
  localparam int unsigned Cycles = Exp + acc_fp_pkg::FromIntCycles + acc_fp_pkg::MulCycles;
  logic [2:0]        beat_q;      // of the line; 4: none
  logic [511:0]      line_q;
  logic [9:0]        r_q, e_q, w_q;
  logic [Cycles-1:0] valid_q;
  logic [17:0]       e_sum;
  logic [31:0]       sum_q;
  logic [127:0]      tops_q;
  logic [63:0]       e_all;
  assign r_word_o     = r_q;
  assign line_ready_o = beat_q >= 3'd3;
  assign idle_o       = beat_q == 3'd4 && valid_q == '0;

  for (genvar l = 0; l < 4; l++) begin : gen_lane
    logic [31:0]    d, scaled, as_float, weight;
    logic [31:0]    unused_factor;
    logic [15:0]    e, e_part, scale;
    logic [16*(Cycles - acc_fp_pkg::MulCycles)-1:0] late_q;  // scales on their way to the product
    logic [12:0]    e_place;
    logic           part, w_part;
    assign scale = line_q[{1'b0, beat_q[1:0], 2'(l), 4'd0} +: 16];
    acc_fp_add u_add (.clk_i, .a_i(r_data_i[l*32 +: 32]), .b_i({!max_i[31], max_i[30:0]}), .y_o(d));
    acc_fp_mul u_log (.clk_i, .a_i(d), .b_i(Log2e), .y_o(scaled));
    acc_exp2 u_exp (.clk_i, .d_i(scaled), .weight_o(e), .factor_o(unused_factor));
    assign e_place = {1'b0, e_q, 2'(l)};
    assign part    = e_place >= 13'(low_i) && e_place < high_i;
    assign e_part  = part ? e : 16'd0;
    assign e_all[l*16 +: 16] = valid_q[Exp-1] ? e_part : 16'd0;
    acc_fp_from_int u_from_int (.clk_i, .x_i({16'd0, e_part}), .y_o(as_float));
    acc_fp_mul u_weight (.clk_i, .a_i(as_float), .b_i(acc_fp_pkg::from_half(late_q[$bits(late_q)-1 -: 16])), .y_o(weight));
    assign w_part = {1'b0, w_q, 2'(l)} >= 13'(low_i) && {1'b0, w_q, 2'(l)} < high_i;
    assign w_data_o[l*32 +: 32] = w_part ? weight : 32'd0;
    always_ff @(posedge clk_i) begin
      late_q <= {late_q[$bits(late_q)-17:0], scale};
      if (clear_i) tops_q[l*32 +: 32] <= '0;
      else if (w_valid_o && acc_fp_pkg::greater(w_data_o[l*32 +: 32], tops_q[l*32 +: 32]))
        tops_q[l*32 +: 32] <= w_data_o[l*32 +: 32];
    end
  end
  assign e_sum     = (18'(e_all[15:0]) + 18'(e_all[31:16])) + (18'(e_all[47:32]) + 18'(e_all[63:48]));
  assign w_valid_o = valid_q[Cycles-1];
  assign w_word_o  = w_q;
  assign sum_o     = sum_q;

  logic [63:0] pairs;
  for (genvar k = 0; k < 2; k++) begin : gen_pair
    assign pairs[k*32 +: 32] = tops_q[k*64 +: 31] > tops_q[k*64 + 32 +: 31] ? tops_q[k*64 +: 32] : tops_q[k*64 + 32 +: 32];
  end
  assign top_o = pairs[30:0] > pairs[62:32] ? pairs[31:0] : pairs[63:32];  // none is negative

  always_ff @(posedge clk_i) begin
    if (line_valid_i && line_ready_o) line_q <= line_i;
    if (clear_i) begin
      r_q   <= '0;
      e_q   <= '0;
      w_q   <= '0;
      sum_q <= '0;
    end else begin
      r_q   <= r_q + 10'(beat_q != 3'd4);
      e_q   <= e_q + 10'(valid_q[Exp-1]);
      w_q   <= w_q + 10'(w_valid_o);
      sum_q <= sum_q + 32'(e_sum);
    end
    if (!rst_ni) begin
      beat_q  <= 3'd4;
      valid_q <= '0;
    end else begin
      beat_q  <= line_valid_i && line_ready_o ? 3'd0 : beat_q == 3'd4 ? 3'd4 : beat_q + 3'd1;
      valid_q <= {valid_q[Cycles-2:0], beat_q != 3'd4};
    end
  end
endmodule
`default_nettype wire
