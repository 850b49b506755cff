// From the lines of a tile to what the lane array takes in a cycle: one quad column of 64 rows.
//
// W2S: seven lines bring eight columns of 56 bytes; line i holds column i and, in its last 8 bytes, the i-th part of
// column 7. Columns 0..6 go out with their line; column 7 stands whole after line 6 and goes out while no line is
// taken: 8 cycles for 7 lines. Dense W2: a line is a column. After the `quads_i` columns of a group comes its line of m,
// which leaves by a handshake of its own.
`default_nettype none
module acc_unpack (
  input  logic         clk_i,
  input  logic         rst_ni,
  input  logic         dense_i,     // W2; 0: W2S. Constant while a stream runs
  input  logic [5:0]   quads_i,     // columns of a group: 8, 16 or 32
  // lines
  input  logic         line_valid_i,
  output logic         line_ready_o,
  input  logic [511:0] line_i,
  // columns
  output logic         col_valid_o,
  input  logic         col_ready_i,
  output logic [511:0] col_o,       // W2S: 64 codes of 7 bits in the low 448
  output logic         col_first_o, // of its group
  output logic         col_last_o,
  // group scales
  output logic         m_valid_o,
  input  logic         m_ready_i,
  output logic [511:0] m_o
);
  logic [5:0]   col_q;   // column of the group that is next
  logic         m_q;     // the next line is one of m
  logic [447:0] tail_q;  // column 7, filled from the top: its first part is lowest after line 6

  logic spare, taken;
  assign spare       = !dense_i && (col_q[2:0] == 3'd7);  // the column that needs no line
  assign col_valid_o = !m_q && (spare || line_valid_i);
  assign col_first_o = col_q == 6'd0;
  assign col_last_o  = col_q == quads_i - 6'd1;
  assign taken       = col_valid_o && col_ready_i;
  assign m_valid_o   = m_q && line_valid_i;
  assign m_o         = line_i;
  assign line_ready_o = m_q ? m_ready_i : (col_ready_i && !spare);

  assign col_o       = spare ? {64'd0, tail_q} : line_i;

  always_ff @(posedge clk_i) begin
    if (taken && !spare) tail_q <= {line_i[511:448], tail_q[447:64]};
    if (!rst_ni) begin
      col_q <= '0;
      m_q   <= 1'b0;
    end else if (taken) begin
      col_q <= col_last_o ? 6'd0 : col_q + 6'd1;
      m_q   <= col_last_o;
    end else if (m_valid_o && m_ready_i) begin
      m_q <= 1'b0;
    end
  end
endmodule
`default_nettype wire
