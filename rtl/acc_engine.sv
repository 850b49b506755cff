// The engine of one channel: a stream of row blocks in, quads of activation codes in, rows of the linear layer out.
// A quad is taken with the last part of its column; nothing is computed while either is missing. The settings are
// constant from a stream's first line to its last result. Between streams the multipliers serve attention: kv_valid_i
// hands them a line of keys or values, whose sums come four cycles later (acc_dense).
`default_nettype none
module acc_engine (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  acc_pkg::format_e format_i,
  input  acc_pkg::levels_e levels_i,
  input  logic [5:0]       quads_i,   // quad columns of a group: 8, 16 or 32
  input  logic [9:0]       groups_i,  // of a row block
  input  logic             bias_i,
  input  logic [31:0]      scale_i,   // of the activation codes
  input  logic             line_valid_i,
  output logic             line_ready_o,
  input  logic [511:0]     line_i,
  input  logic             quad_valid_i,
  output logic             quad_ready_o,
  input  logic [31:0]      quad_i,
  output logic             y_valid_o, // 16 beats of four rows a block
  input  logic             y_ready_i,
  output logic [127:0]     y_o,
  input  logic             kv_i,       // attention has the multipliers
  input  logic             kv_valid_i,
  input  logic             kv_four_i,  // codes of 4 bits
  input  logic             kv_eight_i, // eight operands
  input  logic [511:0]     kv_line_i,
  input  logic [8*9-1:0]   kv_operands_i,
  output logic             kv_sums_valid_o,
  output logic [16*18-1:0] kv_low_o,
  output logic [16*16-1:0] kv_high_o
);
  logic         col_valid, col_first, col_last, col_next, m_valid, m_ready, row_valid, row_ready, taken, lanes;
  logic [1:0]   col_part;
  logic [511:0] col, m, row;
  assign lanes        = format_i == acc_pkg::FormatW2s || format_i == acc_pkg::FormatW2;
  assign taken        = col_valid && quad_valid_i;
  assign quad_ready_o = col_valid && col_next;

  acc_unpack u_unpack (.clk_i, .rst_ni, .format_i, .quads_i, .groups_i, .bias_i, .line_valid_i, .line_ready_o, .line_i,
                       .col_valid_o(col_valid), .col_ready_i(quad_valid_i), .col_o(col), .col_part_o(col_part),
                       .col_first_o(col_first), .col_last_o(col_last), .col_next_o(col_next), .m_valid_o(m_valid),
                       .m_ready_i(m_ready), .m_o(m), .row_valid_o(row_valid), .row_ready_i(row_ready), .row_o(row));

  // Multipliers and lanes are never at work together.
  logic             lanes_done, dense_done, dense_valid, clk_lanes, clk_dense;
  assign dense_valid = kv_valid_i || (taken && !lanes);
  acc_gate u_gate_lanes (.clk_i, .rst_ni, .busy_i(lanes && !kv_i), .moves_i(taken && lanes), .clk_o(clk_lanes));
  acc_gate u_gate_dense (.clk_i, .rst_ni, .busy_i(!lanes || kv_i), .moves_i(dense_valid), .clk_o(clk_dense));
  logic [64*17-1:0] lanes_acc;
  logic [64*22-1:0] dense_acc, sums;
  logic [8*9-1:0]   operands;
  acc_lane_array u_lanes (.clk_i(clk_lanes), .rst_ni, .levels_i, .dense_i(format_i == acc_pkg::FormatW2),
                          .valid_i(taken && lanes), .first_i(col_first), .last_i(col_last), .col_i(col),
                          .act_i(quad_i), .done_o(lanes_done), .acc_o(lanes_acc));
  for (genvar k = 0; k < 8; k++) begin : gen_operand
    assign operands[k*9 +: 9] = kv_valid_i ? kv_operands_i[k*9 +: 9] : 9'(signed'(quad_i[k%4*8 +: 8]));
  end
  acc_dense u_dense (.clk_i(clk_dense), .rst_ni, .four_i(kv_valid_i ? kv_four_i : format_i == acc_pkg::FormatW4),
                     .weights_i(!kv_valid_i), .eight_i(kv_valid_i && kv_eight_i),
                     .valid_i(dense_valid), .first_i(col_first), .last_i(col_last),
                     .part_i(col_part), .line_i(kv_valid_i ? kv_line_i : col), .operands_i(operands),
                     .sums_valid_o(kv_sums_valid_o), .low_o(kv_low_o), .high_o(kv_high_o), .done_o(dense_done),
                     .acc_o(dense_acc));
  for (genvar r = 0; r < 64; r++) begin : gen_sum
    assign sums[r*22 +: 22] = lanes ? 22'(signed'(lanes_acc[r*17 +: 17])) : dense_acc[r*22 +: 22];
  end

  acc_scale u_scale (.clk_i, .rst_ni, .has_m_i(format_i != acc_pkg::FormatW8), .bias_i, .groups_i, .scale_i,
                     .sums_valid_i(lanes_done || dense_done), .sums_i(sums), .m_valid_i(m_valid), .m_ready_o(m_ready),
                     .m_i(m), .row_valid_i(row_valid), .row_ready_o(row_ready), .row_i(row), .y_valid_o, .y_ready_i,
                     .y_o);
endmodule
`default_nettype wire
