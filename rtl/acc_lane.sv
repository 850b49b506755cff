// One row: the products of a quad of weights with four activation codes, added up over a group of columns.
//
// Every W2S code is the sum of two picks (place, sign and level): 0..95 two places, 96 and the reserved codes +L1 - L1
// at one place, 97..120 two picks at one place, so nothing is ever gated. A dense W2 column is four picks at fixed
// places. Three stages: pick, add, accumulate.
`default_nettype none
module acc_lane (
  input  logic               clk_i,
  input  logic               valid_i,
  input  logic               first_i,  // starts a new sum
  input  logic               dense_i,
  input  logic [7:0]         word_i,   // W2S: a code of 7 bits; W2: the level of column k in bits 2k and 2k + 1
  input  logic [43:0]        low_i,    // acc_picks
  input  logic [43:0]        high_i,
  output logic signed [16:0] acc_o     // three cycles after the column
);
  // Level index of a pick: -L2, -L1, +L1, +L2.
  logic [1:0] place0, place1, level0, level1;
  logic [4:0] one;     // 0..23: a single's place and value
  logic [2:0] value;   // of a single: -(L1+L2), -2 L1, -(L2-L1), L2-L1, 2 L1, L1+L2

  assign one = 5'(word_i[6:0] - 7'd97);

  always_comb begin
    unique case (one)
      5'd0, 5'd6,  5'd12, 5'd18: value = 3'd0;
      5'd1, 5'd7,  5'd13, 5'd19: value = 3'd1;
      5'd2, 5'd8,  5'd14, 5'd20: value = 3'd2;
      5'd3, 5'd9,  5'd15, 5'd21: value = 3'd3;
      5'd4, 5'd10, 5'd16, 5'd22: value = 3'd4;
      default:                   value = 3'd5;
    endcase
    place0 = 2'd0;
    place1 = 2'd0;
    level0 = 2'd1;
    level1 = 2'd2;
    if (word_i[6:5] != 2'b11) begin
      unique case (word_i[6:4])
        3'd0:    {place0, place1} = {2'd0, 2'd1};
        3'd1:    {place0, place1} = {2'd0, 2'd2};
        3'd2:    {place0, place1} = {2'd0, 2'd3};
        3'd3:    {place0, place1} = {2'd1, 2'd2};
        3'd4:    {place0, place1} = {2'd1, 2'd3};
        default: {place0, place1} = {2'd2, 2'd3};
      endcase
      level0 = word_i[3:2];
      level1 = word_i[1:0];
    end else if (word_i[6:0] > 7'd96 && word_i[6:0] < 7'd121) begin
      place0 = (one < 5'd6) ? 2'd0 : (one < 5'd12) ? 2'd1 : (one < 5'd18) ? 2'd2 : 2'd3;
      place1 = place0;
      unique case (value)
        3'd0:    {level0, level1} = {2'd1, 2'd0};
        3'd1:    {level0, level1} = {2'd1, 2'd1};
        3'd2:    {level0, level1} = {2'd2, 2'd0};
        3'd3:    {level0, level1} = {2'd1, 2'd3};
        3'd4:    {level0, level1} = {2'd2, 2'd2};
        default: {level0, level1} = {2'd2, 2'd3};
      endcase
    end
    if (dense_i) begin
      {place0, place1} = {2'd0, 2'd1};
      {level1, level0} = word_i[3:0];
    end
  end

  // The four products of a pick's place, then its level, then its sign.
  function automatic logic signed [11:0] pick(input logic [43:0] low, input logic [43:0] high,
                                              input logic [1:0] place, input logic [1:0] level);
    logic [43:0]        row;
    logic signed [10:0] x;
    row = (level == 2'd0 || level == 2'd3) ? high : low;
    case (place)
      2'd0:    x = row[10:0];
      2'd1:    x = row[21:11];
      2'd2:    x = row[32:22];
      default: x = row[43:33];
    endcase
    pick = level[1] ? 12'(x) : -(12'(x));
  endfunction

  logic signed [11:0] pick0_q, pick1_q, pick2_q, pick3_q;
  logic signed [13:0] sum_q;
  logic signed [16:0] acc_q;
  logic [1:0]         valid_q, first_q;

  always_ff @(posedge clk_i) begin
    pick0_q <= pick(low_i, high_i, place0, level0);
    pick1_q <= pick(low_i, high_i, place1, level1);
    pick2_q <= dense_i ? pick(low_i, high_i, 2'd2, word_i[5:4]) : '0;
    pick3_q <= dense_i ? pick(low_i, high_i, 2'd3, word_i[7:6]) : '0;
    sum_q   <= (14'(pick0_q) + 14'(pick1_q)) + (14'(pick2_q) + 14'(pick3_q));
    valid_q <= {valid_q[0], valid_i};
    first_q <= {first_q[0], first_i};
    if (valid_q[1]) acc_q <= (first_q[1] ? 17'd0 : acc_q) + 17'(sum_q);
  end

  assign acc_o = acc_q;
endmodule
`default_nettype wire
