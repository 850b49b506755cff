// Scores of a segment, then weights, four a word: what is read stands a cycle later.
`default_nettype none
module acc_attn_mem (
  input  logic         clk_i,
  input  logic         w_valid_i,
  input  logic [9:0]   w_word_i,
  input  logic [127:0] w_data_i,
  input  logic [9:0]   r_word_i,
  output logic [127:0] r_data_o
);
  logic [127:0] mem [0:1023];
  logic [127:0] data_q;
  always_ff @(posedge clk_i) begin
    if (w_valid_i) mem[w_word_i] <= w_data_i;
    data_q <= mem[r_word_i];
  end
  assign r_data_o = data_q;
endmodule
`default_nettype wire
