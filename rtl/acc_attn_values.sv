// Step 5 of attention (docs/numerics.md): the values of a segment under the probabilities of its strips. Lines come block
// by block, codes first, then scales and zeros; each goes through the multipliers (acc_dense) as it comes, and its sums to
// 16 or, at 4 bits, 32 dimensions' integers. At last 16 dimensions of o leave a cycle. A line a cycle, and one more for
// each block.
`default_nettype none
module acc_attn_values (
  input  logic         clk_i,
  input  logic         rst_ni,
  input  logic         start_i,       // before a segment's first line
  input  logic         four_i,        // these are constant from there on
  input  logic [8:0]   dims_i,
  input  logic [8:0]   blocks_i,      // 0: o is 0
  input  logic [31:0]  unit_i,        // of o
  output logic         busy_o,        // until the last of o has left
  input  logic         strip_valid_i, // acc_attn_strips
  output logic         strip_ready_o,
  input  logic [127:0] p_i,
  input  logic [2:0]   x_i,
  input  logic         line_valid_i,
  output logic         line_ready_o,
  input  logic [511:0] line_i,
  // multipliers
  output logic         kv_valid_o,
  output logic [71:0]  kv_operands_o,
  input  logic         kv_sums_valid_i,
  input  logic [287:0] kv_low_i,
  input  logic [255:0] kv_high_i,
  output logic         o_valid_o,
  output logic [3:0]   o_word_o,
  output logic [511:0] o_o
);
  localparam int unsigned Sums = 4;                                           // of acc_dense
  localparam int unsigned Cycles = 1 + acc_fp_pkg::FromIntCycles + acc_fp_pkg::MulCycles;
  // ---- lines in: quarter of the positions, then row of dimensions ----
  logic             running_q, have_q, scales, take;
  logic [3:0]       rows_last;     // lines of a quarter, less one
  logic [3:0]       row_q;
  logic [2:0]       quarter_q;     // 4: scales
  logic [8:0]       block_q;
  logic [127:0]     p_q;
  logic [2:0]       x_q;
  logic [3*Sums-1:0] late_x_q;
  assign rows_last     = 4'((four_i ? dims_i >> 5 : dims_i >> 4) - 9'd1);
  assign scales        = quarter_q == 3'd4;
  assign strip_ready_o = running_q && !have_q && block_q != blocks_i;
  assign line_ready_o  = have_q;
  assign take          = line_valid_i && have_q;
  assign kv_valid_o    = take && !scales;
  for (genvar k = 0; k < 8; k++) begin : gen_operand
    assign kv_operands_o[k*9 +: 9] = k < 4 ? {1'b0, p_q[{quarter_q[1:0], 2'(k), 3'd0} +: 8]} : 9'd0;
  end

  // ---- sums to dimensions ----
  logic [511:0] low_rows [0:15], high_rows [0:7];
  logic [511:0] low, high, low_d, high_d, out_row, differences_q;
  logic [3:0]   sum_row_q;
  logic [2:0]   x;
  logic         first_q;           // nothing is in the rows yet
  logic [31:0]  z_q;
  logic [19:0]  zeros;
  assign x    = late_x_q[3*Sums-1 -: 3];
  assign low  = low_rows[sum_row_q];
  assign high = high_rows[sum_row_q[2:0]];
  for (genvar g = 0; g < 16; g++) begin : gen_sum
    assign low_d[g*32 +: 32]  = (first_q ? 32'd0 : low[g*32 +: 32]) + (32'(signed'(kv_low_i[g*18 +: 18])) << x);
    assign high_d[g*32 +: 32] = (first_q ? 32'd0 : high[g*32 +: 32]) + (32'(signed'(kv_high_i[g*16 +: 16])) << x);
  end
  always_comb begin
    zeros = '0;
    for (int j = 0; j < 16; j++) zeros += 20'(p_q[j*8 +: 8]) * 20'(line_i[256 + j*8 +: 8]);
  end

  // ---- o: one row of 16 dimensions after the other ----
  logic              reading_q;
  logic [4:0]        read_q;
  logic [Cycles-1:0] valid_q;
  logic [3:0]        out_q, words_last;
  logic [2:0]        high_row;
  logic [4:0]        flying_q;     // lines whose sums are not there yet
  assign words_last = 4'((dims_i >> 4) - 9'd1);
  assign high_row   = 3'(read_q[3:0] - (rows_last + 4'd1));
  assign out_row    = four_i && read_q[3:0] > rows_last ? high_rows[high_row] : low_rows[read_q[3:0]];
  for (genvar l = 0; l < 16; l++) begin : gen_out
    logic [31:0] whole, scaled;
    acc_fp_from_int u_from_int (.clk_i, .x_i(differences_q[l*32 +: 32]), .y_o(whole));
    acc_fp_mul u_mul (.clk_i, .a_i(whole), .b_i(unit_i), .y_o(scaled));
    assign o_o[l*32 +: 32] = blocks_i == 9'd0 ? 32'd0 : scaled;
    always_ff @(posedge clk_i) differences_q[l*32 +: 32] <= out_row[l*32 +: 32] - z_q;
  end
  assign o_valid_o = valid_q[Cycles-1];
  assign o_word_o  = out_q;
  assign busy_o    = running_q;

  always_ff @(posedge clk_i) begin
    if (strip_valid_i && strip_ready_o) {p_q, x_q} <= {p_i, x_i};
    late_x_q <= {late_x_q[3*Sums-4:0], x_q};
    if (kv_sums_valid_i) low_rows[sum_row_q] <= low_d;
    if (kv_sums_valid_i && four_i) high_rows[sum_row_q[2:0]] <= high_d;
    if (start_i) begin
      z_q     <= '0;
      first_q <= 1'b1;
    end else begin
      if (take && scales) z_q <= z_q + (32'(zeros) << x_q);
      if (kv_sums_valid_i && sum_row_q == rows_last) first_q <= 1'b0;
    end
    if (!rst_ni || start_i) begin
      running_q <= rst_ni;
      have_q    <= 1'b0;
      row_q     <= '0;
      quarter_q <= '0;
      block_q   <= '0;
      sum_row_q <= '0;
      flying_q  <= '0;
      reading_q <= 1'b0;
      read_q    <= '0;
      out_q     <= '0;
      valid_q   <= '0;
    end else begin
      have_q <= (strip_valid_i && strip_ready_o) || (have_q && !(take && scales));
      if (take) begin
        row_q <= scales || row_q == rows_last ? 4'd0 : row_q + 4'd1;
        if (scales || row_q == rows_last) quarter_q <= scales ? 3'd0 : quarter_q + 3'd1;
        if (scales) block_q <= block_q + 9'd1;
      end
      if (kv_sums_valid_i) sum_row_q <= sum_row_q == rows_last ? 4'd0 : sum_row_q + 4'd1;
      flying_q  <= flying_q + 5'(kv_valid_o) - 5'(kv_sums_valid_i);
      valid_q   <= {valid_q[Cycles-2:0], reading_q};
      read_q    <= read_q + 5'(reading_q);
      out_q     <= out_q + 4'(o_valid_o);
      reading_q <= reading_q ? read_q[3:0] != words_last
                             : running_q && block_q == blocks_i && flying_q == 5'd0 && read_q == 5'd0;
      if (o_valid_o && out_q == words_last) running_q <= 1'b0;
    end
  end
endmodule
`default_nettype wire
