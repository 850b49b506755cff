// 64 multipliers on a line of 64 bytes a cycle: dense weights, keys and values. A byte is one signed code of 8 bits, or
// two of 4 bits that meet the same operand and share its multiplier, the upper one 18 bits higher: sums of eight products
// stay below 2^17, so the two never mix.
//
// Byte i meets operand i mod 4, and the four products of bytes 4g..4g+3 are added: sum g. With eight operands (keys of 4
// bits) byte i meets operand i mod 8 and the sum of 8h..8h+7 stands at h. Sums of keys and values leave four cycles
// after their line. Those of weights are added up over their group in 64 rows: done_o rises in the cycle in which all
// stand in acc_o, five cycles after the group's last line; they stay until the next group's first line has come as far.
// What a line is may change from one to the next.
`default_nettype none
module acc_dense (
  input  logic              clk_i,
  input  logic              rst_ni,
  input  logic              four_i,     // codes of 4 bits
  input  logic              weights_i,  // of 4 bits: they stand for their value - 8
  input  logic              eight_i,    // eight operands
  input  logic              valid_i,
  input  logic              first_i,    // acc_unpack
  input  logic              last_i,
  input  logic [1:0]        part_i,
  input  logic [511:0]      line_i,
  input  logic [8*9-1:0]    operands_i, // signed
  output logic              sums_valid_o,  // of keys or values
  output logic [16*18-1:0]  low_o,
  output logic [16*16-1:0]  high_o,
  output logic              done_o,
  output logic [64*22-1:0]  acc_o
);
  // 1: a code, or two codes in one number; 2: multiply.
  logic [64*32-1:0] product_q;
  for (genvar i = 0; i < 64; i++) begin : gen_byte
    logic [7:0]         code;
    logic signed [22:0] pair, pair_q;
    logic signed [4:0]  upper, lower;
    logic signed [8:0]  operand_q;
    logic signed [31:0] multiplied_q;
    assign code  = line_i[i*8 +: 8];
    assign upper = weights_i ? 5'(signed'(code[7:4] ^ 4'd8)) : {1'b0, code[7:4]};
    assign lower = weights_i ? 5'(signed'(code[3:0] ^ 4'd8)) : {1'b0, code[3:0]};
    assign pair  = four_i ? {upper, 18'd0} + 23'(lower) : 23'(signed'(code));
    always_ff @(posedge clk_i) begin
      pair_q       <= pair;
      operand_q    <= eight_i ? operands_i[i%8*9 +: 9] : operands_i[i%4*9 +: 9];
      multiplied_q <= pair_q * operand_q;
    end
    assign product_q[i*32 +: 32] = multiplied_q;
  end

  // 3: add four; 4: take apart, add the other four.
  logic [2:0]       eight_q;
  logic [16*18-1:0] low, low_q;
  logic [16*16-1:0] high, high_q;
  for (genvar g = 0; g < 16; g++) begin : gen_sum
    logic signed [33:0] sum_q;
    always_ff @(posedge clk_i)
      sum_q <= (34'(signed'(product_q[g*128 +: 32])) + 34'(signed'(product_q[g*128 + 32 +: 32]))) +
               (34'(signed'(product_q[g*128 + 64 +: 32])) + 34'(signed'(product_q[g*128 + 96 +: 32])));
    assign low[g*18 +: 18]  = sum_q[17:0];
    assign high[g*16 +: 16] = sum_q[33:18] + 16'(sum_q[17]);  // what a negative lower sum took away
  end
  for (genvar g = 0; g < 16; g++) begin : gen_out
    localparam int unsigned A = g < 8 ? 2*g : g;
    localparam int unsigned B = g < 8 ? 2*g + 1 : g;
    always_ff @(posedge clk_i) begin
      low_q[g*18 +: 18]  <= eight_q[2] ? low[A*18 +: 18] + low[B*18 +: 18] : low[g*18 +: 18];
      high_q[g*16 +: 16] <= eight_q[2] ? high[A*16 +: 16] + high[B*16 +: 16] : high[g*16 +: 16];
    end
  end
  always_ff @(posedge clk_i) eight_q <= {eight_q[1:0], eight_i};
  assign low_o  = low_q;
  assign high_o = high_q;

  logic [3:0] valid_q, first_q, four_q, weights_q;
  logic [4:0] last_q;
  logic [7:0] part_q;
  always_ff @(posedge clk_i) begin
    first_q   <= {first_q[2:0], first_i};
    part_q    <= {part_q[5:0], part_i};
    four_q    <= {four_q[2:0], four_i};
    weights_q <= {weights_q[2:0], weights_i};
    if (!rst_ni) begin
      valid_q <= '0;
      last_q  <= '0;
    end else begin
      valid_q <= {valid_q[2:0], valid_i};
      last_q  <= {last_q[3:0], valid_i && weights_i && last_i};
    end
  end
  assign sums_valid_o = valid_q[3] && !weights_q[3];
  assign done_o       = last_q[4];

  // 5: rows of weights. Of 8 bits: rows 16p..16p+15 in part p; of 4 bits also rows 32 higher, in the upper codes.
  for (genvar r = 0; r < 64; r++) begin : gen_row
    localparam logic [1:0] Part = 2'(r / 16);
    logic signed [21:0] acc_q, sum;
    logic               mine;
    if (r < 32) begin : gen_lower
      assign sum  = 22'(signed'(low_q[r%16*18 +: 18]));
      assign mine = part_q[7:6] == Part;
    end else begin : gen_upper
      assign sum  = four_q[3] ? 22'(signed'(high_q[r%16*16 +: 16])) : 22'(signed'(low_q[r%16*18 +: 18]));
      assign mine = part_q[7:6] == (four_q[3] ? Part - 2'd2 : Part);
    end
    always_ff @(posedge clk_i) if (valid_q[3] && weights_q[3] && mine) acc_q <= (first_q[3] ? 22'sd0 : acc_q) + sum;
    assign acc_o[r*22 +: 22] = acc_q;
  end
endmodule
`default_nettype wire
