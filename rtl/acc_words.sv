// A head's vector out of a longer one that lies in words of 16 floats: asks for the words that hold elements first..first
// + n - 1, and says of each that comes, in order, where in the head its 16 elements belong (acc_head_mem).
`default_nettype none
module acc_words (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        start_i,
  input  logic [15:0] first_i,      // constant until the end, as is n_i
  input  logic [8:0]  n_i,
  output logic        busy_o,       // until the last word has come
  output logic        rq_valid_o,
  input  logic        rq_ready_i,
  output logic [11:0] rq_word_o,
  input  logic        in_valid_i,
  output logic [7:0]  base_o,       // of the word that comes: its element 0
  output logic [15:0] mask_o
);
  logic [4:0] asked_q, came_q, words;  // words: 1..17
  logic [8:0] end_lane;
  logic [15:0] head;      // lanes of the first word
  logic       busy_q;
  assign head       = 16'hffff << first_i[3:0];
  assign end_lane   = 9'(first_i[3:0]) + n_i;  // of the last word, counted from the first one's lane 0; 256 + 15 at most
  assign words      = 5'((10'(first_i[3:0]) + 10'(n_i) + 10'd15) >> 4);
  assign busy_o     = busy_q;
  assign rq_valid_o = busy_q && asked_q != words;
  assign rq_word_o  = first_i[15:4] + 12'(asked_q);
  assign base_o     = {came_q[3:0], 4'd0} - 8'(first_i[3:0]);
  for (genvar l = 0; l < 16; l++) begin : gen_lane
    assign mask_o[l] = (came_q != 5'd0 || head[l]) && {came_q, 4'(l)} < end_lane;
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      busy_q  <= 1'b0;
      asked_q <= '0;
      came_q  <= '0;
    end else if (start_i) begin
      busy_q  <= 1'b1;
      asked_q <= '0;
      came_q  <= '0;
    end else begin
      asked_q <= asked_q + 5'(rq_valid_o && rq_ready_i);
      came_q  <= came_q + 5'(busy_q && in_valid_i);
      if (in_valid_i && came_q == words - 5'd1) busy_q <= 1'b0;
    end
  end
endmodule
`default_nettype wire
