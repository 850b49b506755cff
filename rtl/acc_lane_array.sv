// 64 lanes on one quad column a cycle. Columns may have gaps; nothing holds them up. `done_o` rises in the cycle in
// which all sums of a group stand in acc_o, four cycles after its last column; they stay until the next group's first
// column has come as far.
`default_nettype none
module acc_lane_array (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  acc_pkg::levels_e levels_i,
  input  logic             dense_i,
  input  logic             valid_i,
  input  logic             first_i,
  input  logic             last_i,
  input  logic [511:0]     col_i,   // acc_unpack
  input  logic [31:0]      act_i,   // the quad's activation codes
  output logic             done_o,
  output logic [64*17-1:0] acc_o
);
  logic [43:0]  low_d, high_d, low_q, high_q;
  logic [511:0] col_q;
  logic         valid_q, first_q;
  logic [3:0]   last_q;

  acc_picks u_picks (.levels_i, .dense_i, .act_i, .low_o(low_d), .high_o(high_d));

  always_ff @(posedge clk_i) begin
    low_q   <= low_d;
    high_q  <= high_d;
    col_q   <= col_i;
    first_q <= first_i;
    if (!rst_ni) begin
      valid_q <= 1'b0;
      last_q  <= '0;
    end else begin
      valid_q <= valid_i;
      last_q  <= {last_q[2:0], valid_i && last_i};
    end
  end
  assign done_o = last_q[3];

  for (genvar r = 0; r < 64; r++) begin : gen_lane
    // Dense: byte 4 * (r mod 16) + k holds column k of rows r mod 16 + 16f at bits 2f (design section 2).
    localparam int unsigned Field = (r % 16)*32 + r/16*2;
    logic [7:0] word;
    assign word = dense_i ? {col_q[Field+24 +: 2], col_q[Field+16 +: 2], col_q[Field+8 +: 2], col_q[Field +: 2]}
                          : {1'b0, col_q[r*7 +: 7]};
    acc_lane u_lane (.clk_i, .valid_i(valid_q), .first_i(first_q), .dense_i, .word_i(word), .low_i(low_q),
                     .high_i(high_q), .acc_o(acc_o[r*17 +: 17]));
  end
endmodule
`default_nettype wire
