// Step 1 of attention (docs/numerics.md): the scores of a run of blocks of keys under one query. Lines come block by block,
// codes first, then scales and zeros; each goes through the multipliers (acc_dense) as it comes. 16 scores leave in four
// beats, 17 cycles behind their block's last line; the largest of those that take part is kept over all runs of a
// segment. A line a cycle.
`default_nettype none
module acc_attn_scores (
  input  logic          clk_i,
  input  logic          rst_ni,
  input  logic          clear_i,      // before a segment's first run
  input  logic          four_i,       // these are constant during a run
  input  logic [6:0]    lines_i,      // of a block
  input  logic [2047:0] codes_i,      // the query
  input  logic [16:0]   sum_i,
  input  logic [31:0]   c_i,
  input  logic [31:0]   beta_i,
  input  logic [3:0]    low_i,        // place of the segment's first and behind its last position, from the first block on
  input  logic [12:0]   high_i,
  output logic          idle_o,       // nothing is on its way
  input  logic          line_valid_i,
  output logic          line_ready_o,
  input  logic [511:0]  line_i,
  // multipliers
  output logic          kv_valid_o,
  output logic          kv_eight_o,
  output logic [71:0]   kv_operands_o,
  input  logic          kv_sums_valid_i,
  input  logic [287:0]  kv_low_i,
  input  logic [127:0]  kv_high_i,    // the lower eight sums
  // scores
  output logic          w_valid_o,
  output logic [9:0]    w_word_o,     // four places
  output logic [127:0]  w_data_o,
  output logic [31:0]   max_o         // a zero is +0
);
  // ---- lines in ----
  logic [6:0]   in_q, codes_last;
  logic         scales, scales_full_q, take;
  logic [511:0] scales_q;
  assign codes_last    = lines_i - 7'd2;
  assign scales        = in_q == lines_i - 7'd1;
  assign line_ready_o  = !scales || !scales_full_q;
  assign take          = line_valid_i && line_ready_o;
  assign kv_valid_o    = take && !scales;
  assign kv_eight_o    = four_i;
  for (genvar k = 0; k < 8; k++) begin : gen_operand
    logic [7:0] at;
    assign at = four_i ? {in_q[4:0], 3'(k)} : {in_q[5:0], 2'(k)};
    assign kv_operands_o[k*9 +: 9] = 9'(signed'(codes_i[{at, 3'd0} +: 8]));
  end

  // ---- sums of the block, then its 16 numbers wait for their scales ----
  logic [6:0]       out_q;
  logic [16*24-1:0] acc_q, acc_d, n_q;
  logic             n_full_q, start;
  logic [2:0]       beat_q;       // of the block before; 4: none
  for (genvar p = 0; p < 16; p++) begin : gen_position
    logic [23:0] sum;
    assign sum = !four_i ? 24'(signed'(kv_low_i[p*18 +: 18])) :
                 p % 2 == 0 ? 24'(signed'(kv_low_i[p/2*18 +: 18])) : 24'(signed'(kv_high_i[p/2*16 +: 16]));
    assign acc_d[p*24 +: 24] = (out_q == 7'd0 ? 24'd0 : acc_q[p*24 +: 24]) + sum;
  end
  assign start = n_full_q && scales_full_q && beat_q == 3'd4;

  // ---- four beats of four positions: numbers and factors, times each other, plus beta ----
  localparam int unsigned Cycles = 2 * acc_fp_pkg::MulCycles + acc_fp_pkg::AddCycles;
  logic [Cycles-1:0] valid_q;
  logic [9:0]        w_q;
  logic [16*24-1:0]  numbers_q;
  logic [511:0]      terms_q;    // scales and zeros of the block at work
  logic [127:0]      maxima_q;
  logic [63:0]       pairs;
  logic [31:0]       max;
  for (genvar l = 0; l < 4; l++) begin : gen_lane
    logic [3:0]  p;
    logic [23:0] number;
    logic [31:0] whole_q, as_float, late_q, kscale, factor, product, score;
    logic [7:0]  zero;
    logic [12:0] place;
    assign p      = {beat_q[1:0], 2'(l)};
    assign number = numbers_q[p*24 +: 24];
    assign zero   = terms_q[{2'b10, p, 3'd0} +: 8];
    assign kscale = acc_fp_pkg::from_half(terms_q[{1'b0, p, 4'd0} +: 16]);
    acc_fp_from_int u_from_int (.clk_i, .x_i(whole_q), .y_o(as_float));
    acc_fp_mul u_factor (.clk_i, .a_i(kscale), .b_i(c_i), .y_o(factor));
    acc_fp_mul u_product (.clk_i, .a_i(late_q), .b_i(factor), .y_o(product));
    acc_fp_add u_add (.clk_i, .a_i(product), .b_i(beta_i), .y_o(score));
    assign place = {1'b0, w_q, 2'(l)};
    assign w_data_o[l*32 +: 32] = score;
    always_ff @(posedge clk_i) begin
      whole_q <= 32'(signed'(number)) - 32'(signed'(sum_i)) * 32'(zero);
      late_q  <= as_float;
      if (clear_i) maxima_q[l*32 +: 32] <= 32'hff800000;
      else if (w_valid_o && place >= 13'(low_i) && place < high_i &&
               acc_fp_pkg::greater(score, maxima_q[l*32 +: 32])) maxima_q[l*32 +: 32] <= score;
    end
  end
  for (genvar k = 0; k < 2; k++) begin : gen_pair
    assign pairs[k*32 +: 32] = acc_fp_pkg::greater(maxima_q[k*64 +: 32], maxima_q[k*64 + 32 +: 32]) ?
                               maxima_q[k*64 +: 32] : maxima_q[k*64 + 32 +: 32];
  end
  assign max       = acc_fp_pkg::greater(pairs[31:0], pairs[63:32]) ? pairs[31:0] : pairs[63:32];
  assign max_o     = max[30:0] == 31'd0 ? 32'd0 : max;
  assign w_valid_o = valid_q[Cycles-1];
  assign w_word_o  = w_q;
  assign idle_o    = in_q == 7'd0 && !n_full_q && !scales_full_q && beat_q == 3'd4 && valid_q == '0;

  always_ff @(posedge clk_i) begin
    if (take && scales) scales_q <= line_i;
    if (kv_sums_valid_i) begin
      acc_q <= acc_d;
      if (out_q == codes_last) n_q <= acc_d;
    end
    if (start) {numbers_q, terms_q} <= {n_q, scales_q};
    if (clear_i) w_q <= '0;
    else w_q <= w_q + 10'(w_valid_o);
    if (!rst_ni) begin
      in_q          <= '0;
      out_q         <= '0;
      n_full_q      <= 1'b0;
      scales_full_q <= 1'b0;
      beat_q        <= 3'd4;
      valid_q       <= '0;
    end else begin
      if (take) in_q <= scales ? 7'd0 : in_q + 7'd1;
      if (kv_sums_valid_i) out_q <= out_q == codes_last ? 7'd0 : out_q + 7'd1;
      n_full_q      <= (kv_sums_valid_i && out_q == codes_last) || (n_full_q && !start);
      scales_full_q <= (take && scales) || (scales_full_q && !start);
      beat_q        <= start ? 3'd0 : beat_q == 3'd4 ? 3'd4 : beat_q + 3'd1;
      valid_q       <= {valid_q[Cycles-2:0], beat_q != 3'd4};
    end
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni)
                   kv_sums_valid_i && out_q == codes_last |-> !n_full_q || start);
`endif
endmodule
`default_nettype wire
