// From the sums of groups to the rows of a linear layer (docs/numerics.md, "Linear layer"): m times each sum into int32
// rows, eight a cycle; after the last group of a block float(isum) * (rscale * scale) and the bias, four rows a cycle.
//
// A group's 64 sums come with sums_valid_i, at no one's leave: they are taken whenever eight cycles at least lie between
// two of them and each follows its predecessor's line of m, which is how acc_unpack lets them through. Lines of m and of
// rows wait by their handshakes. Results leave as 16 beats of four rows, 8 and 4 cycles of arithmetic behind.
`default_nettype none
module acc_scale (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             has_m_i,      // 0: every m is 1
  input  logic             bias_i,
  input  logic [9:0]       groups_i,     // of a block
  input  logic [31:0]      scale_i,      // of the activation codes
  input  logic             sums_valid_i,
  input  logic [64*22-1:0] sums_i,
  input  logic             m_valid_i,
  output logic             m_ready_o,
  input  logic [511:0]     m_i,
  input  logic             row_valid_i,  // four lines of row scales, then four of biases with bias_i
  output logic             row_ready_o,
  input  logic [511:0]     row_i,
  output logic             y_valid_o,
  input  logic             y_ready_i,
  output logic [127:0]     y_o
);
  // ---- groups ----
  logic             m_valid, m_take;
  logic [511:0]     m;
  acc_fifo #(.Width(512), .Depth(2)) u_m (.clk_i, .rst_ni, .in_valid_i(m_valid_i), .in_ready_o(m_ready_o), .in_data_i(m_i),
                                          .out_valid_o(m_valid), .out_ready_i(m_take), .out_data_o(m));

  logic [64*22-1:0] sums_q;    // eight rows leave at the lower end each step
  logic             full_q, step_valid, adding_q, complete_q;
  logic [2:0]       step_q, adding_step_q;
  logic [9:0]       group_q, adding_group_q;
  logic [255:0]     isum [0:7];
  logic [255:0]     product_q, isum_d;
  assign step_valid = full_q && (m_valid || !has_m_i);
  assign m_take     = step_valid && has_m_i && step_q == 3'd7;

  for (genvar j = 0; j < 8; j++) begin : gen_row
    logic [7:0] factor;
    assign factor = has_m_i ? m[{step_q, 3'(j), 3'd0} +: 8] : 8'd1;
    always_ff @(posedge clk_i) product_q[j*32 +: 32] <= 32'(signed'(sums_q[j*22 +: 22])) * 32'(signed'({1'b0, factor}));
    assign isum_d[j*32 +: 32] =
        (adding_group_q == 10'd0 ? 32'd0 : isum[adding_step_q][j*32 +: 32]) + product_q[j*32 +: 32];
  end

  logic rows_done;  // the last row scales of a block are on their way
  always_ff @(posedge clk_i) begin
    if (sums_valid_i) sums_q <= sums_i;
    else if (step_valid) sums_q <= sums_q >> (8*22);
    if (adding_q) isum[adding_step_q] <= isum_d;
    adding_step_q  <= step_q;
    adding_group_q <= group_q;
    if (!rst_ni) begin
      full_q     <= 1'b0;
      step_q     <= '0;
      group_q    <= '0;
      adding_q   <= 1'b0;
      complete_q <= 1'b0;
    end else begin
      full_q   <= sums_valid_i || (full_q && !(step_valid && step_q == 3'd7));
      adding_q <= step_valid;
      if (step_valid) begin
        step_q <= step_q + 3'd1;
        if (step_q == 3'd7) group_q <= group_q == groups_i - 10'd1 ? 10'd0 : group_q + 10'd1;
      end
      if (adding_q && adding_step_q == 3'd7 && adding_group_q == groups_i - 10'd1) complete_q <= 1'b1;
      else if (rows_done) complete_q <= 1'b0;
    end
  end

  // ---- rows: four a beat, the line's beats in order ----
  logic [2:0]   line_q;   // of row scales or biases
  logic [1:0]   beat_q;
  logic         scale_beat, bias_beat, row_taken;
  logic [127:0] beat, sums;
  logic [4:0]   scaled_q;  // products on their way or waiting: the FIFO holds 16
  logic [3:0]   left_q;    // results on their way or waiting: 8
  logic         product_valid, product_take;
  logic [127:0] products, rows, addends, scaled;
  assign beat = row_i[{beat_q, 7'd0} +: 128];
  assign sums = isum[{line_q[1:0], beat_q[1]}][{beat_q[0], 7'd0} +: 128];
  assign scale_beat  = row_valid_i && !line_q[2] && complete_q && !scaled_q[4];
  assign bias_beat   = row_valid_i && line_q[2] && product_take;
  assign row_taken   = (scale_beat || bias_beat) && beat_q == 2'd3;
  assign row_ready_o = row_taken;
  assign rows_done   = scale_beat && line_q == 3'd3 && beat_q == 2'd3;
  assign product_take = product_valid && !left_q[3] && (!bias_i || (row_valid_i && line_q[2]));

  localparam int unsigned Scaling = 2 * acc_fp_pkg::MulCycles;
  logic [Scaling-1:0]               scaling_q;
  logic [acc_fp_pkg::AddCycles-1:0] adding_rows_q;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      line_q        <= '0;
      beat_q        <= '0;
      scaled_q      <= '0;
      left_q        <= '0;
      scaling_q     <= '0;
      adding_rows_q <= '0;
    end else begin
      if (scale_beat || bias_beat) beat_q <= beat_q + 2'd1;
      if (row_taken) line_q <= line_q == {bias_i, 2'd3} ? 3'd0 : line_q + 3'd1;
      scaled_q      <= scaled_q + 5'(scale_beat) - 5'(product_take);
      left_q        <= left_q + 4'(product_take) - 4'(y_valid_o && y_ready_i);
      scaling_q     <= {scaling_q[Scaling-2:0], scale_beat};
      adding_rows_q <= {adding_rows_q[acc_fp_pkg::AddCycles-2:0], product_take};
    end
  end

  for (genvar j = 0; j < 4; j++) begin : gen_float
    logic [31:0] factor, as_float, late1_q, late2_q;
    acc_fp_mul u_factor (.clk_i, .a_i(beat[j*32 +: 32]), .b_i(scale_i), .y_o(factor));
    acc_fp_from_int u_from_int (.clk_i, .x_i(sums[j*32 +: 32]), .y_o(as_float));
    always_ff @(posedge clk_i) {late2_q, late1_q} <= {late1_q, as_float};  // as late as the factor
    acc_fp_mul u_scale (.clk_i, .a_i(late2_q), .b_i(factor), .y_o(scaled[j*32 +: 32]));
    // Without a bias -0 is added, which changes nothing.
    assign addends[j*32 +: 32] = bias_i ? beat[j*32 +: 32] : 32'h80000000;
    acc_fp_add u_bias (.clk_i, .a_i(products[j*32 +: 32]), .b_i(addends[j*32 +: 32]), .y_o(rows[j*32 +: 32]));
  end

  logic products_ready, rows_ready;
  acc_fifo #(.Width(128), .Depth(16)) u_products (.clk_i, .rst_ni, .in_valid_i(scaling_q[Scaling-1]),
                                                  .in_ready_o(products_ready), .in_data_i(scaled),
                                                  .out_valid_o(product_valid), .out_ready_i(product_take),
                                                  .out_data_o(products));
  acc_fifo #(.Width(128), .Depth(8)) u_rows (.clk_i, .rst_ni, .in_valid_i(adding_rows_q[acc_fp_pkg::AddCycles-1]),
                                             .in_ready_o(rows_ready), .in_data_i(rows), .out_valid_o(y_valid_o),
                                             .out_ready_i(y_ready_i), .out_data_o(y_o));

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni)
                   sums_valid_i |-> !full_q || (step_valid && step_q == 3'd7));
  assert property (@(posedge clk_i) disable iff (!rst_ni) scaling_q[Scaling-1] |-> products_ready);
  assert property (@(posedge clk_i) disable iff (!rst_ni)
                   adding_rows_q[acc_fp_pkg::AddCycles-1] |-> rows_ready);
`endif
endmodule
`default_nettype wire
