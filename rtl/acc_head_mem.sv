// A head's vector of up to 256 floats in 16 banks: 16 elements from any place on are written and read in a cycle. With two
// sides a pass reads one and writes the other. Elements from n_i on read as +0; what is read stands in the same cycle.
`default_nettype none
module acc_head_mem #(
  parameter int unsigned Sides = 1
) (
  input  logic         clk_i,
  input  logic [8:0]   n_i,
  input  logic         w_valid_i,
  input  logic         w_side_i,  // 0 with one side
  input  logic [7:0]   w_base_i,  // lane l goes to element base + l modulo 256
  input  logic [15:0]  w_mask_i,
  input  logic [511:0] w_data_i,
  input  logic         r_side_i,
  input  logic [3:0]   a_word_i,  // elements 16 * word + l
  output logic [511:0] a_o,
  input  logic [7:0]   b_base_i,  // elements base + l
  output logic [511:0] b_o
);
  logic [511:0] a, b;  // by bank
  for (genvar k = 0; k < 16; k++) begin : gen_bank
    logic [31:0] mem [0:16*Sides-1];
    logic [3:0]  w_lane, b_lane, w_word, b_word;
    logic [2+Sides:0] w_at, a_at, b_at;
    assign w_lane = 4'(k) - w_base_i[3:0];
    assign b_lane = 4'(k) - b_base_i[3:0];
    assign w_word = 4'((w_base_i + 8'(w_lane)) >> 4);
    assign b_word = 4'((b_base_i + 8'(b_lane)) >> 4);
    assign w_at   = (3+Sides)'({w_side_i, w_word});
    assign a_at   = (3+Sides)'({r_side_i, a_word_i});
    assign b_at   = (3+Sides)'({r_side_i, b_word});
    always_ff @(posedge clk_i) if (w_valid_i && w_mask_i[w_lane]) mem[w_at] <= w_data_i[{w_lane, 5'd0} +: 32];
    assign a[k*32 +: 32] = mem[a_at];
    assign b[k*32 +: 32] = mem[b_at];
  end
  for (genvar l = 0; l < 16; l++) begin : gen_lane
    logic [3:0] bank;
    assign bank = b_base_i[3:0] + 4'(l);
    assign a_o[l*32 +: 32] = {1'b0, a_word_i, 4'(l)} < n_i ? a[l*32 +: 32] : 32'd0;
    assign b_o[l*32 +: 32] = 9'(b_base_i) + 9'(l) < n_i ? b[{bank, 5'd0} +: 32] : 32'd0;
  end
endmodule
`default_nettype wire
