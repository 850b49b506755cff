// Takes a stream of row blocks apart: tiles, each with its line of m behind it, then row scales and biases.
//
// A tile is quad columns of 64 rows. W2S: seven lines bring eight columns of 56 bytes; line i holds column i and, in its
// last 8 bytes, the i-th part of column 7. Columns 0..6 go out with their line; column 7 stands whole after line 6 and
// goes out while no line is taken: 8 cycles for 7 lines. The dense formats go out line by line, a quad column in one
// part (W2), two (W4: rows 0..15 and 32..47, then 16..31 and 48..63) or four (W8: 16 rows each).
//
// Each kind of line leaves by a handshake of its own. The settings are constant while a stream runs.
`default_nettype none
module acc_unpack (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  acc_pkg::format_e format_i,
  input  logic [5:0]       quads_i,     // quad columns of a group: 8, 16 or 32
  input  logic [9:0]       groups_i,    // of a row block, at least 1
  input  logic             bias_i,
  // lines
  input  logic             line_valid_i,
  output logic             line_ready_o,
  input  logic [511:0]     line_i,
  // columns or their parts
  output logic             col_valid_o,
  input  logic             col_ready_i,
  output logic [511:0]     col_o,       // W2S: 64 codes of 7 bits in the low 448
  output logic [1:0]       col_part_o,
  output logic             col_first_o, // its quad is the first of the group
  output logic             col_last_o,  // of the group
  output logic             col_next_o,  // the last part of its quad
  // group scales
  output logic             m_valid_o,
  input  logic             m_ready_i,
  output logic [511:0]     m_o,
  // four lines of row scales, then four of biases where there are any
  output logic             row_valid_o,
  input  logic             row_ready_i,
  output logic [511:0]     row_o
);
  typedef enum logic [1:0] {Columns = 2'd0, Scales = 2'd1, Rows = 2'd2} phase_e;
  phase_e       phase_q;
  logic [6:0]   col_q, last;  // column or part of the group that is next, and its last
  logic [9:0]   group_q;
  logic [2:0]   row_q;
  logic [447:0] tail_q;       // column 7, filled from the top: its first part is lowest after line 6

  always_comb begin
    unique case (format_i)
      acc_pkg::FormatW4: last = {quads_i, 1'b0} - 7'd1;
      acc_pkg::FormatW8: last = {quads_i[4:0], 2'b00} - 7'd1;  // 32 quads: 128 wraps to 127
      default:           last = 7'(quads_i) - 7'd1;
    endcase
    unique case (format_i)
      acc_pkg::FormatW4: col_part_o = {1'b0, col_q[0]};
      acc_pkg::FormatW8: col_part_o = col_q[1:0];
      default:           col_part_o = 2'd0;
    endcase
    unique case (format_i)
      acc_pkg::FormatW4: {col_first_o, col_next_o} = {col_q[6:1] == 6'd0, col_q[0]};
      acc_pkg::FormatW8: {col_first_o, col_next_o} = {col_q[6:2] == 5'd0, col_q[1:0] == 2'd3};
      default:           {col_first_o, col_next_o} = {col_q == 7'd0, 1'b1};
    endcase
  end

  logic spare, col_taken, m_taken, row_taken, group_ends;
  assign spare        = format_i == acc_pkg::FormatW2s && col_q[2:0] == 3'd7;  // the column that needs no line
  assign col_valid_o  = phase_q == Columns && (spare || line_valid_i);
  assign col_last_o   = col_q == last;
  assign col_o        = spare ? {64'd0, tail_q} : line_i;
  assign m_valid_o    = phase_q == Scales && line_valid_i;
  assign m_o          = line_i;
  assign row_valid_o  = phase_q == Rows && line_valid_i;
  assign row_o        = line_i;
  assign col_taken    = col_valid_o && col_ready_i;
  assign m_taken      = m_valid_o && m_ready_i;
  assign row_taken    = row_valid_o && row_ready_i;
  assign line_ready_o = phase_q == Columns ? col_ready_i && !spare : phase_q == Scales ? m_ready_i : row_ready_i;
  assign group_ends   = m_taken || (col_taken && col_last_o && format_i == acc_pkg::FormatW8);

  always_ff @(posedge clk_i) begin
    if (col_taken && !spare) tail_q <= {line_i[511:448], tail_q[447:64]};
    if (!rst_ni) begin
      phase_q <= Columns;
      col_q   <= '0;
      group_q <= '0;
      row_q   <= '0;
    end else begin
      if (col_taken) col_q <= col_last_o ? 7'd0 : col_q + 7'd1;
      if (group_ends) begin
        group_q <= group_q == groups_i - 10'd1 ? 10'd0 : group_q + 10'd1;
        phase_q <= group_q == groups_i - 10'd1 ? Rows : Columns;
      end else if (col_taken && col_last_o) begin
        phase_q <= Scales;
      end
      if (row_taken) begin
        row_q <= row_q == {bias_i, 2'd3} ? 3'd0 : row_q + 3'd1;
        if (row_q == {bias_i, 2'd3}) phase_q <= Columns;
      end
    end
  end
endmodule
`default_nettype wire
