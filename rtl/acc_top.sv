// The index of the largest of a stream of floats, the lowest of equals; a NaN is never it, 0 where there is no larger one
// than minus infinity. A word a cycle; the result has it three cycles later.
`default_nettype none
module acc_top (
  input  logic         clk_i,
  input  logic         rst_ni,
  input  logic         clear_i,
  input  logic         valid_i,
  input  logic [511:0] x_i,
  input  logic [15:0]  mask_i,   // lanes that hold an element
  input  logic [19:0]  word_i,   // its place: element 16 * word + lane
  output logic         busy_o,   // a word is on its way
  output logic [23:0]  best_o
);
  // Keys: ordered as unsigned integers like the floats, -0 as +0, NaN and what is masked as minus infinity.
  localparam logic [31:0] Bottom = 32'h007fffff;
  function automatic logic [31:0] key(input logic [31:0] x);
    if (acc_fp_pkg::is_nan(x)) key = Bottom;
    else if (x[30:0] == 31'd0) key = 32'h80000000;
    else key = x[31] ? ~x : {1'b1, x[30:0]};
  endfunction

  // 1: keys; 2: the first of the largest in each quarter; 3: of the word, against the best so far.
  logic [511:0] key_q;
  logic [127:0] quarter, quarter_q;
  logic [7:0]   lane, lane_q;
  logic [19:0]  word1_q, word2_q;
  logic [1:0]   valid_q;
  logic [31:0]  top, best_key_q;
  logic [3:0]   top_lane;
  logic [23:0]  best_q;
  assign busy_o = valid_q != '0;
  assign best_o = best_q;

  for (genvar q = 0; q < 4; q++) begin : gen_quarter
    always_comb begin
      quarter[q*32 +: 32] = key_q[q*128 +: 32];
      lane[q*2 +: 2]      = 2'd0;
      for (int l = 1; l < 4; l++)
        if (key_q[q*128 + l*32 +: 32] > quarter[q*32 +: 32]) begin
          quarter[q*32 +: 32] = key_q[q*128 + l*32 +: 32];
          lane[q*2 +: 2]      = 2'(l);
        end
    end
  end
  always_comb begin
    top      = quarter_q[31:0];
    top_lane = {2'd0, lane_q[1:0]};
    for (int q = 1; q < 4; q++)
      if (quarter_q[q*32 +: 32] > top) begin
        top      = quarter_q[q*32 +: 32];
        top_lane = {2'(q), lane_q[q*2 +: 2]};
      end
  end

  always_ff @(posedge clk_i) begin
    for (int l = 0; l < 16; l++) key_q[l*32 +: 32] <= mask_i[l] ? key(x_i[l*32 +: 32]) : Bottom;
    quarter_q <= quarter;
    lane_q    <= lane;
    word1_q   <= word_i;
    word2_q   <= word1_q;
    if (clear_i) begin
      best_key_q <= Bottom;
      best_q     <= '0;
    end else if (valid_q[1] && top > best_key_q) begin
      best_key_q <= top;
      best_q     <= {word2_q, top_lane};
    end
    if (!rst_ni) valid_q <= '0;
    else valid_q <= {valid_q[0], valid_i};
  end
endmodule
`default_nettype wire
